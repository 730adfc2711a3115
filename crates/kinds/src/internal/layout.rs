//! The order of fields in upstream's internal version of what may not change, or is shown whole, and their names there.
//! `Go=json` where the API's name does not follow from Go's. Source: the internal API types of v1.36.

use std::collections::HashMap;
use std::sync::OnceLock;

pub(super) struct Field {
    pub go: &'static str,
    pub json: String,
}

/// Stands in its holder as if its members were the holder's.
pub(super) const METADATA: &str = "metadata";

pub(super) fn fields(type_name: &str) -> Option<&'static [Field]> {
    all().get(type_name).map(Vec::as_slice)
}

pub(super) fn all() -> &'static HashMap<&'static str, Vec<Field>> {
    static ALL: OnceLock<HashMap<&str, Vec<Field>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let lines = TYPES.iter().flat_map(|part| part.lines());
        let lines = lines.filter_map(|line| line.trim().split_once(": "));
        lines
            .map(|(name, fields)| (name, fields.split(' ').map(field).collect()))
            .collect()
    })
}

fn field(text: &'static str) -> Field {
    match text.split_once('=') {
        Some((go, json)) => Field {
            go,
            json: json.into(),
        },
        None => Field {
            go: text,
            json: json_name(text),
        },
    }
}

/// `DNSPolicy` is `dnsPolicy`: capitals at the start are small, but for the one that begins the next word.
fn json_name(go: &str) -> String {
    let capitals = go.bytes().take_while(u8::is_ascii_uppercase).count();
    let small = if capitals > 1 && capitals < go.len() {
        capitals - 1
    } else {
        capitals
    };
    go[..small].to_ascii_lowercase() + &go[small..]
}

const TYPES: [&str; 8] = [
    PODS, CONTAINERS, VOLUMES, PERSISTENT, STORAGE, DEVICES, FLOWS, OTHERS,
];

const PODS: &str = "
PodSpec: Volumes InitContainers Containers EphemeralContainers RestartPolicy TerminationGracePeriodSeconds ActiveDeadlineSeconds DNSPolicy NodeSelector ServiceAccountName AutomountServiceAccountToken NodeName SecurityContext ImagePullSecrets Hostname Subdomain SetHostnameAsFQDN Affinity SchedulerName Tolerations HostAliases PriorityClassName Priority PreemptionPolicy DNSConfig ReadinessGates RuntimeClassName Overhead EnableServiceLinks TopologySpreadConstraints OS SchedulingGates ResourceClaims Resources HostnameOverride SchedulingGroup
PodSecurityContext: HostNetwork HostPID HostIPC ShareProcessNamespace HostUsers SELinuxOptions WindowsOptions RunAsUser RunAsGroup RunAsNonRoot SupplementalGroups SupplementalGroupsPolicy FSGroup FSGroupChangePolicy Sysctls SeccompProfile AppArmorProfile SELinuxChangePolicy
LocalObjectReference: Name
Affinity: NodeAffinity PodAffinity PodAntiAffinity
NodeAffinity: RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution
PodAffinity: RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution
PodAntiAffinity: RequiredDuringSchedulingIgnoredDuringExecution PreferredDuringSchedulingIgnoredDuringExecution
NodeSelector: NodeSelectorTerms
NodeSelectorTerm: MatchExpressions MatchFields
NodeSelectorRequirement: Key Operator Values
PreferredSchedulingTerm: Weight Preference
PodAffinityTerm: LabelSelector Namespaces TopologyKey NamespaceSelector MatchLabelKeys MismatchLabelKeys
WeightedPodAffinityTerm: Weight PodAffinityTerm
Toleration: Key Operator Value Effect TolerationSeconds
HostAlias: IP Hostnames
PodDNSConfig: Nameservers Searches Options
PodDNSConfigOption: Name Value
PodReadinessGate: ConditionType
TopologySpreadConstraint: MaxSkew TopologyKey WhenUnsatisfiable LabelSelector MinDomains NodeAffinityPolicy NodeTaintsPolicy MatchLabelKeys
PodOS: Name
PodSchedulingGate: Name
PodResourceClaim: Name ResourceClaimName ResourceClaimTemplateName
PodSchedulingGroup: PodGroupName
Sysctl: Name Value
SELinuxOptions: User Role Type Level
WindowsSecurityContextOptions: GMSACredentialSpecName GMSACredentialSpec RunAsUserName HostProcess
SeccompProfile: Type LocalhostProfile
AppArmorProfile: Type LocalhostProfile
";

const CONTAINERS: &str = "
Container: Name Image Command Args WorkingDir Ports EnvFrom Env Resources ResizePolicy RestartPolicy RestartPolicyRules VolumeMounts VolumeDevices LivenessProbe ReadinessProbe StartupProbe Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext Stdin StdinOnce TTY
EphemeralContainer: Name Image Command Args WorkingDir Ports EnvFrom Env Resources ResizePolicy RestartPolicy RestartPolicyRules VolumeMounts VolumeDevices LivenessProbe ReadinessProbe StartupProbe Lifecycle TerminationMessagePath TerminationMessagePolicy ImagePullPolicy SecurityContext Stdin StdinOnce TTY TargetContainerName
ContainerPort: Name HostPort ContainerPort Protocol HostIP
EnvFromSource: Prefix ConfigMapRef SecretRef
ConfigMapEnvSource: Name Optional
SecretEnvSource: Name Optional
EnvVar: Name Value ValueFrom
EnvVarSource: FieldRef ResourceFieldRef ConfigMapKeyRef SecretKeyRef FileKeyRef
ObjectFieldSelector: APIVersion FieldPath
ResourceFieldSelector: ContainerName Resource Divisor
ConfigMapKeySelector: Name Key Optional
SecretKeySelector: Name Key Optional
FileKeySelector: VolumeName Path Key Optional
ResourceRequirements: Limits Requests Claims
ResourceClaim: Name Request
ContainerResizePolicy: ResourceName RestartPolicy
ContainerRestartRule: Action ExitCodes
ContainerRestartRuleOnExitCodes: Operator Values
VolumeMount: Name ReadOnly RecursiveReadOnly MountPath SubPath MountPropagation SubPathExpr
VolumeDevice: Name DevicePath
Probe: Exec HTTPGet TCPSocket GRPC InitialDelaySeconds TimeoutSeconds PeriodSeconds SuccessThreshold FailureThreshold TerminationGracePeriodSeconds
ExecAction: Command
HTTPGetAction: Path Port Host Scheme HTTPHeaders
HTTPHeader: Name Value
TCPSocketAction: Port Host
GRPCAction: Port Service
SleepAction: Seconds
Lifecycle: PostStart PreStop StopSignal
LifecycleHandler: Exec HTTPGet TCPSocket Sleep
SecurityContext: Capabilities Privileged SELinuxOptions WindowsOptions RunAsUser RunAsGroup RunAsNonRoot ReadOnlyRootFilesystem AllowPrivilegeEscalation ProcMount SeccompProfile AppArmorProfile
Capabilities: Add Drop
";

const VOLUMES: &str = "
Volume: Name HostPath EmptyDir GCEPersistentDisk AWSElasticBlockStore GitRepo Secret NFS ISCSI Glusterfs PersistentVolumeClaim RBD Quobyte FlexVolume Cinder CephFS=cephfs Flocker DownwardAPI FC AzureFile ConfigMap VsphereVolume AzureDisk PhotonPersistentDisk Projected PortworxVolume ScaleIO StorageOS=storageos CSI Ephemeral Image
HostPathVolumeSource: Path Type
EmptyDirVolumeSource: Medium SizeLimit
GCEPersistentDiskVolumeSource: PDName FSType Partition ReadOnly
AWSElasticBlockStoreVolumeSource: VolumeID FSType Partition ReadOnly
GitRepoVolumeSource: Repository Revision Directory
SecretVolumeSource: SecretName Items DefaultMode Optional
ConfigMapVolumeSource: Name Items DefaultMode Optional
KeyToPath: Key Path Mode
NFSVolumeSource: Server Path ReadOnly
ISCSIVolumeSource: TargetPortal IQN Lun ISCSIInterface FSType ReadOnly Portals DiscoveryCHAPAuth=chapAuthDiscovery SessionCHAPAuth=chapAuthSession SecretRef InitiatorName
GlusterfsVolumeSource: EndpointsName=endpoints Path ReadOnly
PersistentVolumeClaimVolumeSource: ClaimName ReadOnly
RBDVolumeSource: CephMonitors=monitors RBDImage=image FSType RBDPool=pool RadosUser=user Keyring SecretRef ReadOnly
QuobyteVolumeSource: Registry Volume ReadOnly User Group Tenant
FlexVolumeSource: Driver FSType SecretRef ReadOnly Options
CinderVolumeSource: VolumeID FSType ReadOnly SecretRef
CephFSVolumeSource: Monitors Path User SecretFile SecretRef ReadOnly
FlockerVolumeSource: DatasetName DatasetUUID
DownwardAPIVolumeSource: Items DefaultMode
DownwardAPIVolumeFile: Path FieldRef ResourceFieldRef Mode
FCVolumeSource: TargetWWNs Lun FSType ReadOnly WWIDs=wwids
AzureFileVolumeSource: SecretName ShareName ReadOnly
VsphereVirtualDiskVolumeSource: VolumePath FSType StoragePolicyName StoragePolicyID
AzureDiskVolumeSource: DiskName DataDiskURI=diskURI CachingMode FSType ReadOnly Kind
PhotonPersistentDiskVolumeSource: PdID FSType
PortworxVolumeSource: VolumeID FSType ReadOnly
ScaleIOVolumeSource: Gateway System SecretRef SSLEnabled ProtectionDomain StoragePool StorageMode VolumeName FSType ReadOnly
StorageOSVolumeSource: VolumeName VolumeNamespace FSType ReadOnly SecretRef
CSIVolumeSource: Driver ReadOnly FSType VolumeAttributes NodePublishSecretRef
EphemeralVolumeSource: VolumeClaimTemplate
PersistentVolumeClaimTemplate: ObjectMeta=metadata Spec
ImageVolumeSource: Reference PullPolicy
ProjectedVolumeSource: Sources DefaultMode
VolumeProjection: Secret DownwardAPI ConfigMap ServiceAccountToken ClusterTrustBundle PodCertificate
SecretProjection: Name Items Optional
DownwardAPIProjection: Items
ConfigMapProjection: Name Items Optional
ServiceAccountTokenProjection: Audience ExpirationSeconds Path
ClusterTrustBundleProjection: Name SignerName LabelSelector Optional Path
PodCertificateProjection: SignerName KeyType MaxExpirationSeconds CredentialBundlePath KeyPath CertificateChainPath UserAnnotations
";

const PERSISTENT: &str = "
PersistentVolumeSource: GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder CephFS=cephfs FC Flocker AzureFile VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS=storageos CSI
GlusterfsPersistentVolumeSource: EndpointsName=endpoints Path ReadOnly EndpointsNamespace
RBDPersistentVolumeSource: CephMonitors=monitors RBDImage=image FSType RBDPool=pool RadosUser=user Keyring SecretRef ReadOnly
ISCSIPersistentVolumeSource: TargetPortal IQN Lun ISCSIInterface FSType ReadOnly Portals DiscoveryCHAPAuth=chapAuthDiscovery SessionCHAPAuth=chapAuthSession SecretRef InitiatorName
FlexPersistentVolumeSource: Driver FSType SecretRef ReadOnly Options
CinderPersistentVolumeSource: VolumeID FSType ReadOnly SecretRef
CephFSPersistentVolumeSource: Monitors Path User SecretFile SecretRef ReadOnly
AzureFilePersistentVolumeSource: SecretName ShareName ReadOnly SecretNamespace
ScaleIOPersistentVolumeSource: Gateway System SecretRef SSLEnabled ProtectionDomain StoragePool StorageMode VolumeName FSType ReadOnly
LocalVolumeSource: Path FSType
StorageOSPersistentVolumeSource: VolumeName VolumeNamespace FSType ReadOnly SecretRef
CSIPersistentVolumeSource: Driver VolumeHandle ReadOnly FSType VolumeAttributes ControllerPublishSecretRef NodeStageSecretRef NodePublishSecretRef ControllerExpandSecretRef NodeExpandSecretRef
SecretReference: Name Namespace
ObjectReference: Kind Namespace Name UID APIVersion ResourceVersion FieldPath
PersistentVolumeClaimSpec: AccessModes Selector Resources VolumeName StorageClassName VolumeMode DataSource DataSourceRef VolumeAttributesClassName
VolumeResourceRequirements: Limits Requests
TypedLocalObjectReference: APIGroup Kind Name
TypedObjectReference: APIGroup Kind Name Namespace
";

const STORAGE: &str = "
VolumeAttachmentSpec: Attacher Source NodeName
VolumeAttachmentSource: PersistentVolumeName InlineVolumeSpec
PersistentVolumeSpec: Capacity GCEPersistentDisk AWSElasticBlockStore HostPath Glusterfs NFS RBD Quobyte ISCSI FlexVolume Cinder CephFS=cephfs FC Flocker AzureFile VsphereVolume AzureDisk PhotonPersistentDisk PortworxVolume ScaleIO Local StorageOS=storageos CSI AccessModes ClaimRef PersistentVolumeReclaimPolicy StorageClassName MountOptions VolumeMode NodeAffinity VolumeAttributesClassName
VolumeNodeAffinity: Required
CSINodeDriver: Name NodeID TopologyKeys Allocatable
VolumeNodeResources: Count
";

const DEVICES: &str = "
ResourceClaimTemplateSpec: ObjectMeta=metadata Spec
ResourceClaimSpec: Devices
DeviceClaim: Requests Constraints Config
DeviceRequest: Name Exactly FirstAvailable
ExactDeviceRequest: DeviceClassName Selectors AllocationMode Count AdminAccess Tolerations Capacity
DeviceSubRequest: Name DeviceClassName Selectors AllocationMode Count Tolerations Capacity
DeviceSelector: CEL
CELDeviceSelector: Expression
DeviceToleration: Key Operator Value Effect TolerationSeconds
CapacityRequirements: Requests
DeviceConstraint: Requests MatchAttribute DistinctAttribute
DeviceClaimConfiguration: Requests Opaque
OpaqueDeviceConfiguration: Driver Parameters
AllocationResult: Devices NodeSelector AllocationTimestamp
DeviceAllocationResult: Results Config
DeviceRequestAllocationResult: Request Driver Pool Device AdminAccess Tolerations BindingConditions BindingFailureConditions ShareID ConsumedCapacity
DeviceAllocationConfiguration: Source Requests Opaque
DeviceAttribute: IntValue=int BoolValue=bool StringValue=string VersionValue=version IntValues=ints BoolValues=bools StringValues=strings VersionValues=versions
";

const FLOWS: &str = "
FlowSchemaSpec: PriorityLevelConfiguration MatchingPrecedence DistinguisherMethod Rules
PriorityLevelConfigurationReference: Name
FlowDistinguisherMethod: Type
PolicyRulesWithSubjects: Subjects ResourceRules NonResourceRules
Subject: Kind User Group ServiceAccount
UserSubject: Name
GroupSubject: Name
ServiceAccountSubject: Namespace Name
ResourcePolicyRule: Verbs APIGroups Resources ClusterScope Namespaces
NonResourcePolicyRule: Verbs NonResourceURLs
PriorityLevelConfigurationSpec: Type Limited Exempt
LimitedPriorityLevelConfiguration: NominalConcurrencyShares LimitResponse LendablePercent BorrowingLimitPercent
LimitResponse: Type Queuing
QueuingConfiguration: Queues HandSize QueueLengthLimit
ExemptPriorityLevelConfiguration: NominalConcurrencyShares LendablePercent
";

const OTHERS: &str = "
PodTemplateSpec: Metadata Spec
PodFailurePolicy: Rules
PodFailurePolicyRule: Action OnExitCodes OnPodConditions
PodFailurePolicyOnExitCodesRequirement: ContainerName Operator Values
PodFailurePolicyOnPodConditionsPattern: Type Status
SuccessPolicy: Rules
SuccessPolicyRule: SucceededIndexes SucceededCount
UncountedTerminatedPods: Succeeded Failed
ScopeSelector: MatchExpressions
ScopedResourceSelectorRequirement: ScopeName Operator Values
PodDisruptionBudgetSpec: MinAvailable Selector MaxUnavailable UnhealthyPodEvictionPolicy
ParentReference: Group Resource Namespace Name
ServiceCIDRSpec: CIDRs=cidrs
HorizontalPodAutoscalerBehavior: ScaleUp ScaleDown
HPAScalingRules: StabilizationWindowSeconds SelectPolicy Policies Tolerance
HPAScalingPolicy: Type Value PeriodSeconds
";
