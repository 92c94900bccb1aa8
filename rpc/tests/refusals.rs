//! Every way to get a call wrong, with the whole message that it gets.

use mirror_rpc::{CreateParams, DeleteParams, GetBdevsParams, RpcError, StopParams};

/// A create call that is right, with `extra` before the closing brace.
fn create(extra: &str) -> String {
    format!(r#"{{"name":"m0","base_bdevs":["a","b"],"log_type":"core","initial_sync":"none"{extra}}}"#)
}

/// A create call whose legs are `legs`, as JSON.
fn create_of(legs: &str) -> String {
    format!(r#"{{"name":"m0","base_bdevs":{legs},"log_type":"core","initial_sync":"none"}}"#)
}

fn refused<T>(json: &str, parse: impl Fn(&str) -> Result<T, RpcError>, message: &str) {
    match parse(json) {
        Ok(_) => panic!("accepted: {json}"),
        Err(error) => {
            assert_eq!(error.message, message, "for {json}");
            assert_eq!(error.code(), -22, "for {json}");
        }
    }
}

const KNOWN: &str = "name, base_bdevs, uuid, log_type, initial_sync, size_mb, read_policy, \
                     data_offset_kb, unmap or require_durable_legs";

#[test]
fn what_create_accepts_is_the_yardstick() {
    let plain = CreateParams::parse(&create("")).unwrap();
    assert_eq!(plain.name, "m0");
    assert_eq!(plain.base_bdevs, ["a", "b"]);
    assert_eq!(plain.uuid, None);
    assert_eq!(plain.size_mb, None);
    assert!(!plain.require_durable_legs);
    let all = r#", "uuid":"6E2D2A3C-7a5f-4a2e-9d11-0123456789ab", "size_mb": 1099511627776,
        "read_policy":"least_outstanding", "data_offset_kb":0, "unmap":"pass",
        "require_durable_legs":true"#;
    let all = CreateParams::parse(&create(all)).unwrap();
    assert_eq!(all.size_mb, Some(1 << 40));
    assert!(all.require_durable_legs && all.uuid.is_some());
    assert_eq!(all.unmap, mirror_rpc::UnmapMode::Pass);
}

#[test]
fn text_that_is_no_object() {
    let of = |json: &str, found: &str| {
        let message = format!(
            "params: not an object; expected named parameters, found {found}; \
             give an object with name, wipe or force"
        );
        refused(json, DeleteParams::parse, &message);
    };
    of("[]", "an array");
    of("7", "the number 7");
    of("true", "true");
    of(r#""m0""#, "the string 'm0'");

    let of = |json: &str, found: &str| {
        let message = format!("params: not JSON; expected an object, found {found}; give an object with name");
        refused(json, StopParams::parse, &message);
    };
    of("{", "EOF while parsing an object at line 1 column 1");
    of("{} {}", "trailing characters at line 1 column 4");
    of("nil", "expected ident at line 1 column 2");
}

#[test]
fn nothing_given() {
    for json in ["", " \n", "null", "{}"] {
        let missing = "name: missing; expected a string, found nothing; ";
        let of = |method| format!("{missing}{method} cannot do without it");
        refused(json, CreateParams::parse, &of("bdev_mirror_create"));
        refused(json, DeleteParams::parse, &of("bdev_mirror_delete"));
        refused(json, StopParams::parse, &of("bdev_mirror_stop"));
        assert!(GetBdevsParams::parse(json).unwrap().name.is_none());
    }
    refused(
        r#"{"name":"m0"}"#,
        CreateParams::parse,
        "base_bdevs: missing; expected an array of strings, found nothing; \
         bdev_mirror_create cannot do without it",
    );
}

#[test]
fn unknown_parameters() {
    let of = |name: &str, advice: &str| {
        let json = create(&format!(r#", "{name}": {{"a":1,"a":2}}"#));
        let message = format!("'{name}': unknown parameter; expected {KNOWN}, found '{name}'; {advice}");
        refused(&json, CreateParams::parse, &message);
    };
    of("base_bdev", "did you mean base_bdevs?");
    of("sizemb", "did you mean size_mb?");
    of("Name", "did you mean name?");
    of("data-offset-kb", "did you mean data_offset_kb?");
    of("region_size_mb", "did you mean region_size_kb?");
    of("raid_level", "leave it out");
    of("", "leave it out");
    refused(
        r#"{"name":"m0","wipe":true}"#,
        StopParams::parse,
        "'wipe': unknown parameter; expected name, found 'wipe'; leave it out",
    );
    // What is a later option of create is plainly unknown elsewhere.
    refused(
        r#"{"write_through":true}"#,
        GetBdevsParams::parse,
        "'write_through': unknown parameter; expected name or category, \
         found 'write_through'; leave it out",
    );
}

#[test]
fn options_of_later_versions() {
    for name in mirror_rpc::LATER_CREATE_OPTIONS {
        refused(
            &create(&format!(r#","{name}":1"#)),
            CreateParams::parse,
            &format!("{name}: not yet available in this version; leave it out"),
        );
    }
}

#[test]
fn the_same_parameter_again() {
    let message = |name| {
        format!(
            "{name}: given more than once; expected each parameter at most once, \
             found it again; leave one out"
        )
    };
    refused(&create(r#","name":"m0""#), CreateParams::parse, &message("name"));
    // The same key, spelt with an escape.
    refused(r#"{"name":"m0","force":true,"\u0066orce":true}"#, DeleteParams::parse, &message("force"));
    refused(r#"{"category":"all","category":"all"}"#, GetBdevsParams::parse, &message("category"));
    // Inside a value it does not even come to that: no parameter takes an object.
    refused(
        &create_of(r#"[{"a":1,"a":1}]"#),
        CreateParams::parse,
        "base_bdevs[0]: wrong type; expected a string, found an object",
    );
}

#[test]
fn wrong_types() {
    let of = |json: String, name: &str, expected: &str, found: &str| {
        let message = format!("{name}: wrong type; expected {expected}, found {found}");
        refused(&json, CreateParams::parse, &message);
    };
    let extra = |name: &str, value: &str| create(&format!(r#","{name}":{value}"#));

    of(r#"{"name":1}"#.to_owned(), "name", "a string", "the number 1");
    of(r#"{"name":null}"#.to_owned(), "name", "a string", "null");
    of(create_of(r#""a b""#), "base_bdevs", "an array of strings", "the string 'a b'");
    of(create_of("{}"), "base_bdevs", "an array of strings", "an object");
    of(create_of("null"), "base_bdevs", "an array of strings", "null");
    of(create_of(r#"["a",["b"]]"#), "base_bdevs[1]", "a string", "an array");
    of(extra("uuid", "null"), "uuid", "a string", "null");
    of(extra("unmap", "false"), "unmap", "a string", "false");
    of(extra("read_policy", "[]"), "read_policy", "a string", "an array");
    of(extra("size_mb", r#""64""#), "size_mb", "an integer", "the string '64'");
    of(extra("size_mb", "64.0"), "size_mb", "an integer", "the number 64.0");
    of(extra("size_mb", "6e1"), "size_mb", "an integer", "the number 60.0");
    of(extra("size_mb", "true"), "size_mb", "an integer", "true");
    of(extra("data_offset_kb", "{}"), "data_offset_kb", "an integer", "an object");
    let name = "require_durable_legs";
    of(extra(name, "1"), name, "true or false", "the number 1");
    of(extra(name, r#""true""#), name, "true or false", "the string 'true'");

    refused(
        r#"{"name":"m0","wipe":0}"#,
        DeleteParams::parse,
        "wipe: wrong type; expected true or false, found the number 0",
    );
    refused(r#"{"name":["m0"]}"#, GetBdevsParams::parse, "name: wrong type; expected a string, found an array");
}

#[test]
fn out_of_range() {
    for value in ["0", "-1", "1099511627777", "18446744073709551615"] {
        refused(
            &create(&format!(r#","size_mb":{value}"#)),
            CreateParams::parse,
            &format!("size_mb: out of range; expected 1 to 1099511627776, found {value}"),
        );
    }
    // Beyond 64 bits the digits are lost, but not the reason.
    refused(
        &create(r#","size_mb":18446744073709551616"#),
        CreateParams::parse,
        "size_mb: out of range; expected 1 to 1099511627776, found 1.8446744073709552e+19",
    );
    refused(
        &create(r#","data_offset_kb":1024"#),
        CreateParams::parse,
        "data_offset_kb: an offset is not yet available in this version; expected 0, \
         found 1024; give 0 or leave it out",
    );
    refused(
        &create(r#","data_offset_kb":-4"#),
        CreateParams::parse,
        "data_offset_kb: out of range; expected 0 to 18446744073709551615, found -4",
    );
}

#[test]
fn names_that_no_bdev_has() {
    let bad = |subject, wrong, found: &str| {
        format!(
            "{subject}: {wrong}; expected 1 to 255 bytes without NUL, found {found}; \
             give the name of a bdev"
        )
    };
    let long = "x".repeat(256);
    let fits = "x".repeat(255);
    let cases = [
        ("", "empty", "''"),
        (r"a\u0000b", "contains a NUL character", r"'a\u{0}b'"),
        (long.as_str(), "too long", "256 bytes"),
    ];
    for (name, wrong, found) in cases {
        let call = format!(r#"{{"name":"{name}"}}"#);
        let message = bad("name", wrong, found);
        refused(&call, CreateParams::parse, &message);
        refused(&call, DeleteParams::parse, &message);
        refused(&call, StopParams::parse, &message);
        refused(&call, GetBdevsParams::parse, &message);
        let message = bad("base_bdevs[1]", wrong, found);
        refused(&create_of(&format!(r#"["a","{name}"]"#)), CreateParams::parse, &message);
    }
    assert!(StopParams::parse(&format!(r#"{{"name":"{fits}"}}"#)).is_ok());
}

#[test]
fn sets_of_legs() {
    let legs = |count: usize| {
        let names: Vec<String> = (0..count).map(|i| format!(r#""leg{i}""#)).collect();
        create_of(&format!("[{}]", names.join(",")))
    };
    assert!(CreateParams::parse(&legs(1)).is_ok());
    assert!(CreateParams::parse(&legs(16)).is_ok());
    for count in [0, 17, 1_000] {
        refused(
            &legs(count),
            CreateParams::parse,
            &format!("base_bdevs: wrong number of base bdevs; expected 1 to 16, found {count}"),
        );
    }
    refused(
        &create_of(r#"["a","b","a"]"#),
        CreateParams::parse,
        "base_bdev 'a': named twice; expected a different bdev for each leg, \
         found it in slots 0 and 2; name it once",
    );
    refused(
        &create_of(r#"["a","m0"]"#),
        CreateParams::parse,
        "base_bdev 'm0': has the name of the mirror itself; expected a name of its own, \
         found it as name and in slot 1; give the mirror another name",
    );
}

#[test]
fn words() {
    let legs = r#""name":"m0","base_bdevs":["a","b"]"#;
    let of = |extra: &str, message: &str| {
        refused(&format!("{{{legs}{extra}}}"), CreateParams::parse, message);
    };
    of(
        "",
        "log_type: 'internal' (the default) is not yet available in this version; \
         expected core, found nothing given; give log_type=core",
    );
    of(
        r#","log_type":"internal""#,
        "log_type: 'internal' is not yet available in this version; \
         expected core, found 'internal'; give log_type=core",
    );
    of(
        r#","log_type":"core""#,
        "initial_sync: 'full' (the default) is not yet available in this version; \
         expected none, found nothing given; give initial_sync=none",
    );
    of(
        r#","log_type":"core","initial_sync":"blank""#,
        "initial_sync: 'blank' is not yet available in this version; \
         expected none, found 'blank'; give initial_sync=none",
    );
    of(r#","log_type":"Core""#, "log_type: no such value; expected core, found 'Core'; give log_type=core");
    refused(
        &create(r#","read_policy":"round_robin""#),
        CreateParams::parse,
        "read_policy: 'round_robin' is not yet available in this version; \
         expected least_outstanding, found 'round_robin'; give read_policy=least_outstanding",
    );
    refused(
        &create(r#","unmap":"""#),
        CreateParams::parse,
        "unmap: no such value; expected zeroes or pass, found ''; give unmap=zeroes or pass",
    );
    refused(
        r#"{"category":"degraded"}"#,
        GetBdevsParams::parse,
        "category: no such value; expected all, online, configuring or offline, \
         found 'degraded'; give category=all, online, configuring or offline",
    );
}

#[test]
fn uuids() {
    let of = |uuid: &str, wrong: &str| {
        refused(
            &create(&format!(r#","uuid":"{uuid}""#)),
            CreateParams::parse,
            &format!(
                "uuid: {wrong}; expected 8-4-4-4-12 hexadecimal digits, not all zero, \
                 found '{uuid}'; leave it out for a new one"
            ),
        );
    };
    of("", "not a UUID");
    of("6e2d2a3c7a5f4a2e9d110123456789ab", "not a UUID");
    of("{6e2d2a3c-7a5f-4a2e-9d11-0123456789ab}", "not a UUID");
    of("6e2d2a3c-7a5f-4a2e-9d11-0123456789ag", "not a UUID");
    of("00000000-0000-0000-0000-000000000000", "all zeros");
}
