//! What functions there are: names, overloads, signatures. One line an overload, read once (`FUNCTIONS`).
//! Source: cel-go's standard, strings v2, lists v3, sets and optional libraries, and Kubernetes' own.

use crate::types::Type;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// One signature of a function.
pub(crate) struct Overload {
    pub id: &'static str,
    pub member: bool,
    pub args: Vec<Type>,
    pub result: Type,
    /// How many type parameters the signature has.
    pub params: u8,
}

pub(crate) struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

pub(crate) static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let mut functions = HashMap::new();
    for text in [OPERATORS, STANDARD, EXTENSIONS, KUBERNETES] {
        read(text, &mut functions);
    }
    functions
});

fn read(text: &'static str, functions: &mut HashMap<&'static str, Function>) {
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        for line in expand(line) {
            let mut words = line.splitn(3, ' ');
            let (Some(id), Some(name), Some(signature)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let overload = overload(id, signature);
            let function = functions.entry(name).or_insert_with(|| Function {
                name,
                overloads: Vec::new(),
            });
            function.overloads.push(overload);
        }
    }
}

const COMPARABLE: [&str; 8] = [
    "int",
    "uint",
    "double",
    "bool",
    "duration",
    "timestamp",
    "string",
    "bytes",
];

/// Lines that hold `$S` (types that can be summed) or `$C` (types with an order) stand for one line a type.
fn expand(line: &'static str) -> Vec<&'static str> {
    let (mark, names): (&str, &[&str]) = match line {
        _ if line.contains("$S") => ("$S", &["int", "uint", "double", "duration"]),
        _ if line.contains("$C") => ("$C", &COMPARABLE),
        _ => return vec![line],
    };
    // Read once in the life of the process, so what is made here may stay for good.
    names
        .iter()
        .map(|name| &*Box::leak(line.replace(mark, name).into_boxed_str()))
        .collect()
}

/// `(args) -> result`, or `target.(args) -> result` for a member.
fn overload(id: &'static str, signature: &'static str) -> Overload {
    let mut reader = Reader { rest: signature };
    let mut args = Vec::new();
    let member = !signature.starts_with('(');
    if member {
        args.push(reader.kind());
        reader.skip('.');
    }
    args.extend(reader.params());
    reader.rest = reader.rest.trim_start_matches([' ', '-', '>']);
    let result = reader.kind();
    let mut params = 0;
    args.iter().for_each(|arg| count_params(arg, &mut params));
    count_params(&result, &mut params);
    Overload {
        id,
        member,
        args,
        result,
        params,
    }
}

fn count_params(kind: &Type, params: &mut u8) {
    match kind {
        Type::Param(at) => *params = (*params).max(at + 1),
        _ => {
            kind.map_params(&mut |inner| {
                count_params(inner, params);
                inner.clone()
            });
        }
    }
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn skip(&mut self, c: char) -> bool {
        let rest = self.rest.trim_start();
        match rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn params(&mut self) -> Vec<Type> {
        let mut params = Vec::new();
        self.skip('(');
        while !self.skip(')') {
            params.push(self.kind());
            if !self.skip(',') && !self.rest.trim_start().starts_with(')') {
                break;
            }
        }
        params
    }

    fn kind(&mut self) -> Type {
        self.rest = self.rest.trim_start();
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let params = if self.rest.starts_with('(') {
            self.params()
        } else {
            Vec::new()
        };
        let mut params = params.into_iter();
        let mut param = || params.next().unwrap_or(Type::Dyn);
        match name {
            "dyn" => Type::Dyn,
            "bool" => Type::Bool,
            "int" => Type::Int,
            "uint" => Type::Uint,
            "double" => Type::Double,
            "string" => Type::String,
            "bytes" => Type::Bytes,
            "duration" => Type::Duration,
            "timestamp" => Type::Timestamp,
            "list" => Type::list(param()),
            "map" => {
                let keys = param();
                Type::map(keys, param())
            }
            "optional" => Type::optional(param()),
            "type" => Type::Type(Some(Arc::new(param()))),
            "A" => Type::Param(0),
            "B" => Type::Param(1),
            "IP" => ip(),
            "CIDR" => cidr(),
            _ => Type::object(object_name(name)),
        }
    }
}

pub(crate) fn ip() -> Type {
    Type::Opaque("net.IP".into(), Arc::new([]))
}

pub(crate) fn cidr() -> Type {
    Type::Opaque("net.CIDR".into(), Arc::new([]))
}

pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

fn object_name(short: &str) -> &'static str {
    match short {
        "Quantity" => QUANTITY,
        "URL" => URL,
        "Semver" => SEMVER,
        "Format" => FORMAT,
        "Authorizer" => AUTHORIZER,
        "PathCheck" => PATH_CHECK,
        "GroupCheck" => GROUP_CHECK,
        "ResourceCheck" => RESOURCE_CHECK,
        _ => DECISION,
    }
}

const OPERATORS: &str = "
conditional _?_:_ (bool, A, A) -> A
logical_and _&&_ (bool, bool) -> bool
logical_or _||_ (bool, bool) -> bool
logical_not !_ (bool) -> bool
not_strictly_false @not_strictly_false (bool) -> bool
equals _==_ (A, A) -> bool
not_equals _!=_ (A, A) -> bool
add_bytes _+_ (bytes, bytes) -> bytes
add_double _+_ (double, double) -> double
add_duration_duration _+_ (duration, duration) -> duration
add_duration_timestamp _+_ (duration, timestamp) -> timestamp
add_timestamp_duration _+_ (timestamp, duration) -> timestamp
add_int64 _+_ (int, int) -> int
add_list _+_ (list(A), list(A)) -> list(A)
add_string _+_ (string, string) -> string
add_uint64 _+_ (uint, uint) -> uint
divide_double _/_ (double, double) -> double
divide_int64 _/_ (int, int) -> int
divide_uint64 _/_ (uint, uint) -> uint
modulo_int64 _%_ (int, int) -> int
modulo_uint64 _%_ (uint, uint) -> uint
multiply_double _*_ (double, double) -> double
multiply_int64 _*_ (int, int) -> int
multiply_uint64 _*_ (uint, uint) -> uint
negate_double -_ (double) -> double
negate_int64 -_ (int) -> int
subtract_double _-_ (double, double) -> double
subtract_duration_duration _-_ (duration, duration) -> duration
subtract_int64 _-_ (int, int) -> int
subtract_timestamp_duration _-_ (timestamp, duration) -> timestamp
subtract_timestamp_timestamp _-_ (timestamp, timestamp) -> duration
subtract_uint64 _-_ (uint, uint) -> uint
less_bool _<_ (bool, bool) -> bool
less_int64 _<_ (int, int) -> bool
less_int64_double _<_ (int, double) -> bool
less_int64_uint64 _<_ (int, uint) -> bool
less_uint64 _<_ (uint, uint) -> bool
less_uint64_double _<_ (uint, double) -> bool
less_uint64_int64 _<_ (uint, int) -> bool
less_double _<_ (double, double) -> bool
less_double_int64 _<_ (double, int) -> bool
less_double_uint64 _<_ (double, uint) -> bool
less_string _<_ (string, string) -> bool
less_bytes _<_ (bytes, bytes) -> bool
less_timestamp _<_ (timestamp, timestamp) -> bool
less_duration _<_ (duration, duration) -> bool
less_equals_bool _<=_ (bool, bool) -> bool
less_equals_int64 _<=_ (int, int) -> bool
less_equals_int64_double _<=_ (int, double) -> bool
less_equals_int64_uint64 _<=_ (int, uint) -> bool
less_equals_uint64 _<=_ (uint, uint) -> bool
less_equals_uint64_double _<=_ (uint, double) -> bool
less_equals_uint64_int64 _<=_ (uint, int) -> bool
less_equals_double _<=_ (double, double) -> bool
less_equals_double_int64 _<=_ (double, int) -> bool
less_equals_double_uint64 _<=_ (double, uint) -> bool
less_equals_string _<=_ (string, string) -> bool
less_equals_bytes _<=_ (bytes, bytes) -> bool
less_equals_timestamp _<=_ (timestamp, timestamp) -> bool
less_equals_duration _<=_ (duration, duration) -> bool
greater_bool _>_ (bool, bool) -> bool
greater_int64 _>_ (int, int) -> bool
greater_int64_double _>_ (int, double) -> bool
greater_int64_uint64 _>_ (int, uint) -> bool
greater_uint64 _>_ (uint, uint) -> bool
greater_uint64_double _>_ (uint, double) -> bool
greater_uint64_int64 _>_ (uint, int) -> bool
greater_double _>_ (double, double) -> bool
greater_double_int64 _>_ (double, int) -> bool
greater_double_uint64 _>_ (double, uint) -> bool
greater_string _>_ (string, string) -> bool
greater_bytes _>_ (bytes, bytes) -> bool
greater_timestamp _>_ (timestamp, timestamp) -> bool
greater_duration _>_ (duration, duration) -> bool
greater_equals_bool _>=_ (bool, bool) -> bool
greater_equals_int64 _>=_ (int, int) -> bool
greater_equals_int64_double _>=_ (int, double) -> bool
greater_equals_int64_uint64 _>=_ (int, uint) -> bool
greater_equals_uint64 _>=_ (uint, uint) -> bool
greater_equals_uint64_double _>=_ (uint, double) -> bool
greater_equals_uint64_int64 _>=_ (uint, int) -> bool
greater_equals_double _>=_ (double, double) -> bool
greater_equals_double_int64 _>=_ (double, int) -> bool
greater_equals_double_uint64 _>=_ (double, uint) -> bool
greater_equals_string _>=_ (string, string) -> bool
greater_equals_bytes _>=_ (bytes, bytes) -> bool
greater_equals_timestamp _>=_ (timestamp, timestamp) -> bool
greater_equals_duration _>=_ (duration, duration) -> bool
index_list _[_] (list(A), int) -> A
index_map _[_] (map(A, B), A) -> B
optional_list_index_int _[_] (optional(list(A)), int) -> optional(A)
optional_map_index_value _[_] (optional(map(A, B)), A) -> optional(B)
in_list @in (A, list(A)) -> bool
in_map @in (A, map(A, B)) -> bool
";

const STANDARD: &str = "
size_bytes size (bytes) -> int
bytes_size size bytes.() -> int
size_list size (list(A)) -> int
list_size size list(A).() -> int
size_map size (map(A, B)) -> int
map_size size map(A, B).() -> int
size_string size (string) -> int
string_size size string.() -> int
type type (A) -> type(A)
bool_to_bool bool (bool) -> bool
string_to_bool bool (string) -> bool
bytes_to_bytes bytes (bytes) -> bytes
string_to_bytes bytes (string) -> bytes
double_to_double double (double) -> double
int64_to_double double (int) -> double
string_to_double double (string) -> double
uint64_to_double double (uint) -> double
duration_to_duration duration (duration) -> duration
int64_to_duration duration (int) -> duration
string_to_duration duration (string) -> duration
to_dyn dyn (A) -> dyn
int64_to_int64 int (int) -> int
double_to_int64 int (double) -> int
duration_to_int64 int (duration) -> int
string_to_int64 int (string) -> int
timestamp_to_int64 int (timestamp) -> int
uint64_to_int64 int (uint) -> int
string_to_string string (string) -> string
bool_to_string string (bool) -> string
bytes_to_string string (bytes) -> string
double_to_string string (double) -> string
duration_to_string string (duration) -> string
int64_to_string string (int) -> string
timestamp_to_string string (timestamp) -> string
uint64_to_string string (uint) -> string
ip_to_string string (IP) -> string
cidr_to_string string (CIDR) -> string
timestamp_to_timestamp timestamp (timestamp) -> timestamp
int64_to_timestamp timestamp (int) -> timestamp
string_to_timestamp timestamp (string) -> timestamp
uint64_to_uint64 uint (uint) -> uint
double_to_uint64 uint (double) -> uint
int64_to_uint64 uint (int) -> uint
string_to_uint64 uint (string) -> uint
contains_string contains string.(string) -> bool
ends_with_string endsWith string.(string) -> bool
starts_with_string startsWith string.(string) -> bool
matches matches (string, string) -> bool
matches_string matches string.(string) -> bool
timestamp_to_year getFullYear timestamp.() -> int
timestamp_to_year_with_tz getFullYear timestamp.(string) -> int
timestamp_to_month getMonth timestamp.() -> int
timestamp_to_month_with_tz getMonth timestamp.(string) -> int
timestamp_to_day_of_year getDayOfYear timestamp.() -> int
timestamp_to_day_of_year_with_tz getDayOfYear timestamp.(string) -> int
timestamp_to_day_of_month getDayOfMonth timestamp.() -> int
timestamp_to_day_of_month_with_tz getDayOfMonth timestamp.(string) -> int
timestamp_to_day_of_month_1_based getDate timestamp.() -> int
timestamp_to_day_of_month_1_based_with_tz getDate timestamp.(string) -> int
timestamp_to_day_of_week getDayOfWeek timestamp.() -> int
timestamp_to_day_of_week_with_tz getDayOfWeek timestamp.(string) -> int
timestamp_to_hours getHours timestamp.() -> int
timestamp_to_hours_with_tz getHours timestamp.(string) -> int
duration_to_hours getHours duration.() -> int
timestamp_to_minutes getMinutes timestamp.() -> int
timestamp_to_minutes_with_tz getMinutes timestamp.(string) -> int
duration_to_minutes getMinutes duration.() -> int
timestamp_to_seconds getSeconds timestamp.() -> int
timestamp_to_seconds_tz getSeconds timestamp.(string) -> int
duration_to_seconds getSeconds duration.() -> int
timestamp_to_milliseconds getMilliseconds timestamp.() -> int
timestamp_to_milliseconds_with_tz getMilliseconds timestamp.(string) -> int
duration_to_milliseconds getMilliseconds duration.() -> int
";

const EXTENSIONS: &str = "
optional_of optional.of (A) -> optional(A)
optional_ofNonZeroValue optional.ofNonZeroValue (A) -> optional(A)
optional_none optional.none () -> optional(A)
optional_value value optional(A).() -> A
optional_hasValue hasValue optional(A).() -> bool
optional_or_optional or optional(A).(optional(A)) -> optional(A)
optional_orValue_value orValue optional(A).(A) -> A
select_optional_field _?._ (dyn, string) -> optional(A)
list_optindex_optional_int _[?_] (list(A), int) -> optional(A)
optional_list_optindex_optional_int _[?_] (optional(list(A)), int) -> optional(A)
map_optindex_optional_value _[?_] (map(A, B), A) -> optional(B)
optional_map_optindex_optional_value _[?_] (optional(map(A, B)), A) -> optional(B)
list_last last list(A).() -> optional(A)
list_first first list(A).() -> optional(A)
optional_unwrap optional.unwrap (list(optional(A))) -> list(A)
optional_unwrapOpt unwrapOpt list(optional(A)).() -> list(A)
@mapInsert_map_key_value cel.@mapInsert (map(A, B), A, B) -> map(A, B)
@mapInsert_map_map cel.@mapInsert (map(A, B), map(A, B)) -> map(A, B)
string_char_at_int charAt string.(int) -> string
string_index_of_string indexOf string.(string) -> int
string_index_of_string_int indexOf string.(string, int) -> int
list_a_index_of_int indexOf list(A).(A) -> int
string_last_index_of_string lastIndexOf string.(string) -> int
string_last_index_of_string_int lastIndexOf string.(string, int) -> int
list_a_last_index_of_int lastIndexOf list(A).(A) -> int
string_lower_ascii lowerAscii string.() -> string
string_replace_string_string replace string.(string, string) -> string
string_replace_string_string_int replace string.(string, string, int) -> string
string_split_string split string.(string) -> list(string)
string_split_string_int split string.(string, int) -> list(string)
string_substring_int substring string.(int) -> string
string_substring_int_int substring string.(int, int) -> string
string_trim trim string.() -> string
string_upper_ascii upperAscii string.() -> string
string_format format string.(list(dyn)) -> string
strings_quote strings.quote (string) -> string
list_join join list(string).() -> string
list_join_string join list(string).(string) -> string
list_slice slice list(A).(int, int) -> list(A)
list_flatten flatten list(list(A)).() -> list(A)
list_flatten_int flatten list(dyn).(int) -> list(dyn)
list_$C_sort sort list($C).() -> list($C)
list_$C_sortByAssociatedKeys @sortByAssociatedKeys list(A).(list($C)) -> list(A)
lists_range lists.range (int) -> list(int)
list_reverse reverse list(A).() -> list(A)
list_distinct distinct list(A).() -> list(A)
list_sets_contains_list sets.contains (list(A), list(A)) -> bool
list_sets_equivalent_list sets.equivalent (list(A), list(A)) -> bool
list_sets_intersects_list sets.intersects (list(A), list(A)) -> bool
";

const KUBERNETES: &str = "
list_$C_is_sorted_bool isSorted list($C).() -> bool
list_$S_sum_$S sum list($S).() -> $S
list_$C_max_$C max list($C).() -> $C
list_$C_min_$C min list($C).() -> $C
string_find_string find string.(string) -> string
string_find_all_string findAll string.(string) -> list(string)
string_find_all_string_int findAll string.(string, int) -> list(string)
string_to_url url (string) -> URL
is_url_string isURL (string) -> bool
url_get_scheme getScheme URL.() -> string
url_get_host getHost URL.() -> string
url_get_hostname getHostname URL.() -> string
url_get_port getPort URL.() -> string
url_get_escaped_path getEscapedPath URL.() -> string
url_get_query getQuery URL.() -> map(string, list(string))
string_to_quantity quantity (string) -> Quantity
is_quantity_string isQuantity (string) -> bool
quantity_sign sign (Quantity) -> int
quantity_is_greater_than isGreaterThan Quantity.(Quantity) -> bool
semver_is_greater_than isGreaterThan Semver.(Semver) -> bool
quantity_is_less_than isLessThan Quantity.(Quantity) -> bool
semver_is_less_than isLessThan Semver.(Semver) -> bool
quantity_compare_to compareTo Quantity.(Quantity) -> int
semver_compare_to compareTo Semver.(Semver) -> int
quantity_get_float asApproximateFloat Quantity.() -> double
quantity_get_int asInteger Quantity.() -> int
quantity_is_integer isInteger Quantity.() -> bool
quantity_add add Quantity.(Quantity) -> Quantity
quantity_add_int add Quantity.(int) -> Quantity
quantity_sub sub Quantity.(Quantity) -> Quantity
quantity_sub_int sub Quantity.(int) -> Quantity
string_to_semver semver (string) -> Semver
string_bool_to_semver semver (string, bool) -> Semver
is_semver_string isSemver (string) -> bool
is_semver_string_bool isSemver (string, bool) -> bool
semver_major major Semver.() -> int
semver_minor minor Semver.() -> int
semver_patch patch Semver.() -> int
string_to_ip ip (string) -> IP
cidr_ip ip CIDR.() -> IP
is_ip isIP (string) -> bool
ip_family family IP.() -> int
ip_is_canonical ip.isCanonical (string) -> bool
ip_is_unspecified isUnspecified IP.() -> bool
ip_is_loopback isLoopback IP.() -> bool
ip_is_link_local_multicast isLinkLocalMulticast IP.() -> bool
ip_is_link_local_unicast isLinkLocalUnicast IP.() -> bool
ip_is_global_unicast isGlobalUnicast IP.() -> bool
string_to_cidr cidr (string) -> CIDR
is_cidr isCIDR (string) -> bool
cidr_contains_ip_string containsIP CIDR.(string) -> bool
cidr_contains_ip_ip containsIP CIDR.(IP) -> bool
cidr_contains_cidr_string containsCIDR CIDR.(string) -> bool
cidr_contains_cidr containsCIDR CIDR.(CIDR) -> bool
cidr_prefix_length prefixLength CIDR.() -> int
cidr_masked masked CIDR.() -> CIDR
format-validate validate Format.(string) -> optional(list(string))
format-named format.named (string) -> optional(Format)
format.dns1123Label format.dns1123Label () -> Format
format.dns1123Subdomain format.dns1123Subdomain () -> Format
format.dns1035Label format.dns1035Label () -> Format
format.qualifiedName format.qualifiedName () -> Format
format.dns1123LabelPrefix format.dns1123LabelPrefix () -> Format
format.dns1123SubdomainPrefix format.dns1123SubdomainPrefix () -> Format
format.dns1035LabelPrefix format.dns1035LabelPrefix () -> Format
format.labelValue format.labelValue () -> Format
format.uri format.uri () -> Format
format.uuid format.uuid () -> Format
format.byte format.byte () -> Format
format.date format.date () -> Format
format.datetime format.datetime () -> Format
authorizer_path path Authorizer.(string) -> PathCheck
authorizer_group group Authorizer.(string) -> GroupCheck
authorizer_serviceaccount serviceAccount Authorizer.(string, string) -> Authorizer
groupcheck_resource resource GroupCheck.(string) -> ResourceCheck
resourcecheck_subresource subresource ResourceCheck.(string) -> ResourceCheck
resourcecheck_namespace namespace ResourceCheck.(string) -> ResourceCheck
resourcecheck_name name ResourceCheck.(string) -> ResourceCheck
authorizer_fieldselector fieldSelector ResourceCheck.(string) -> ResourceCheck
authorizer_labelselector labelSelector ResourceCheck.(string) -> ResourceCheck
pathcheck_check check PathCheck.(string) -> Decision
resourcecheck_check check ResourceCheck.(string) -> Decision
decision_errored errored Decision.() -> bool
decision_error error Decision.() -> string
decision_allowed allowed Decision.() -> bool
decision_reason reason Decision.() -> string
string_jsonpatch_escapeKey_string jsonpatch.escapeKey (string) -> string
";
