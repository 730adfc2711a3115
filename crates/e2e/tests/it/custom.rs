//! Custom resources with real kubectl: from `apply` of a definition to its end.

use crate::harness::Cluster;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.labelSelector}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            description: What the crontab is to do.
            type: object
            required: [cronSpec]
            properties:
              cronSpec: {type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'}
              image: {type: string, default: busybox}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
          status:
            type: object
            properties: {replicas: {type: integer}, labelSelector: {type: string}}
";

const OBJECT: &str = "
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine}
spec: {cronSpec: '* * * * */5'}
";

#[test]
fn custom_resources() {
    let Some(cluster) = Cluster::start("custom_resources", &[]) else {
        return;
    };
    let said = cluster.apply(DEFINITION);
    assert_eq!(
        said.trim(),
        "customresourcedefinition.apiextensions.k8s.io/crontabs.stable.example.com created"
    );
    cluster.wait("crd/crontabs.stable.example.com", "condition=Established");
    cluster.apply(OBJECT);
    let listed = cluster.kubectl("get ct");
    let mut lines = listed.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next(),
        Some(vec!["NAME", "SPEC", "REPLICAS", "AGE"]),
        "{listed}"
    );
    let row = lines.next().expect("a row");
    assert_eq!(row[..2], ["mine", "*"], "{listed}");
    assert_eq!(
        cluster.jsonpath("ct/mine", "{.spec.image} {.spec.replicas}"),
        "busybox 1"
    );
    assert!(
        cluster
            .kubectl("get all")
            .contains("crontab.stable.example.com/mine")
    );
    let explained = cluster.kubectl("explain crontab.spec");
    assert!(
        explained.contains("What the crontab is to do.") && explained.contains("cronSpec"),
        "{explained}"
    );

    cluster.kubectl("scale crontab/mine --replicas=3");
    assert_eq!(
        cluster.jsonpath("ct/mine", "{.spec.replicas} {.metadata.generation}"),
        "3 2"
    );
    let refused = cluster
        .kubectl_fails("patch ct mine --type=merge -p '{\"spec\":{\"cronSpec\":\"never\",\"replicas\":11}}'");
    for part in [
        "The CronTab \"mine\" is invalid",
        "spec.cronSpec: Invalid value: \"never\": spec.cronSpec in body should match",
        "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
    ] {
        assert!(refused.contains(part), "no {part:?} in:\n{refused}");
    }
    let unknown = OBJECT.replace("spec: {", "spec: {colour: red, ");
    let refused = cluster.kubectl_with("apply -f -").input(unknown).run().fails();
    assert!(refused.contains("unknown field \"spec.colour\""), "{refused}");
    let applied = cluster
        .kubectl_with("apply --server-side --field-manager=tests -f -")
        .input(OBJECT.replace("*/5", "*/7").replace("mine", "other"))
        .run()
        .ok();
    assert!(applied.contains("serverside-applied"), "{applied}");
    cluster.kubectl("patch ct other --subresource=status --type=merge -p '{\"status\":{\"replicas\":2}}'");
    assert_eq!(
        cluster.jsonpath("ct/other", "{.status.replicas} {.metadata.generation}"),
        "2 1"
    );

    goes_with_its_objects(&cluster);
    cluster.remove();
}

/// With the definition go its objects; one that is held keeps it.
fn goes_with_its_objects(cluster: &Cluster) {
    cluster.kubectl("patch ct mine --type=merge -p '{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}'");
    cluster.kubectl("delete crd crontabs.stable.example.com --wait=false");
    cluster.wait("crd/crontabs.stable.example.com", "condition=Terminating");
    cluster.kubectl("wait --for=delete ct/other --timeout=20s");
    cluster.kubectl("patch ct mine --type=merge -p '{\"metadata\":{\"finalizers\":null}}'");
    cluster.kubectl("wait --for=delete crd/crontabs.stable.example.com --timeout=20s");
    let gone = cluster.kubectl_fails("get ct");
    assert!(
        gone.contains("the server d") || gone.contains("the server could not find"),
        "{gone}"
    );
}
