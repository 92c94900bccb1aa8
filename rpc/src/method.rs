//! The one list of methods and parameters: the parser, the reference and the plugin follow it.

/// A JSON-RPC method.
#[derive(Debug)]
pub struct Method {
    /// As it is called.
    pub name: &'static str,
    /// One sentence for help texts.
    pub summary: &'static str,
    /// In the order in which the help lists them.
    pub params: &'static [Param],
}

/// A parameter of a [`Method`].
#[derive(Debug)]
pub struct Param {
    /// The key.
    pub name: &'static str,
    /// JSON type, in words.
    pub kind: &'static str,
    /// What holds when it is left out; `None`: it cannot be left out.
    pub default: Option<&'static str>,
    /// One sentence for help texts.
    pub help: &'static str,
}

impl Method {
    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        self.params.iter().find(|param| param.name == name)
    }
}

/// Every method of this version.
pub const METHODS: &[Method] = &[CREATE, DELETE, STOP, GET_BDEVS];

pub(crate) const CREATE: Method = Method {
    name: "bdev_mirror_create",
    summary: "Create a mirror of 1 to 16 base bdevs",
    params: &[
        required("name", "string", "Name of the mirror bdev"),
        required("base_bdevs", "array of strings", "Names of the base bdevs, 1 to 16 of them"),
        optional("uuid", "string", "a new one", "UUID of the mirror bdev, 8-4-4-4-12 hexadecimal digits"),
        optional(
            "log_type",
            "string",
            "internal",
            "Where the dirty region log is: core (memory only); internal and disk come later",
        ),
        optional(
            "initial_sync",
            "string",
            "full",
            "What the legs hold: none (declared equal, nothing is copied); full and blank come later",
        ),
        optional(
            "size_mb",
            "integer",
            "smallest leg less 0.1 %, at most 128 MiB less",
            "Size of the mirror in MiB, 1 to 1099511627776",
        ),
        optional(
            "read_policy",
            "string",
            "least_outstanding",
            "Which leg a read goes to: least_outstanding; first, round_robin and preferred come later",
        ),
        optional("data_offset_kb", "integer", "0", "Where the data begins on each leg, in KiB: 0; more comes later"),
        optional(
            "unmap",
            "string",
            "zeroes",
            "What an unmap does on the legs: zeroes (write zeroes), or pass where all legs read zeros",
        ),
        optional(
            "require_durable_legs",
            "boolean",
            "false",
            "Refuse legs that cannot be flushed to their media; else there is a warning",
        ),
    ],
};

pub(crate) const DELETE: Method = Method {
    name: "bdev_mirror_delete",
    summary: "Delete a mirror; the data stay on the base bdevs",
    params: &[
        required("name", "string", "Name of the mirror bdev"),
        optional(
            "wipe",
            "boolean",
            "true",
            "Remove the superblocks too, or the next examine brings it back (log_type core has none)",
        ),
        optional("force", "boolean", "false", "Delete it even while it is open"),
    ],
};

pub(crate) const STOP: Method = Method {
    name: "bdev_mirror_stop",
    summary: "Stop a mirror cleanly; what is on the base bdevs stays",
    params: &[required("name", "string", "Name of the mirror bdev")],
};

pub(crate) const GET_BDEVS: Method = Method {
    name: "bdev_mirror_get_bdevs",
    summary: "List mirrors and their legs",
    params: &[
        optional("name", "string", "every mirror", "Name of one mirror bdev"),
        optional("category", "string", "all", "Mirrors in which state: all, online, configuring or offline"),
    ],
};

/// Options of `bdev_mirror_create` whose names and meanings are settled but which this version
/// does not have: refused by name, so that nobody believes in protection that is not there.
pub const LATER_CREATE_OPTIONS: &[&str] = &[
    "allow_missing",
    "auto_readd",
    "clear_idle_ms",
    "compare_first",
    "dirty_budget",
    "flap_limit",
    "heartbeat_ms",
    "leg_timeout_ms",
    "log_bdev",
    "mark_ahead",
    "owner_lease_ms",
    "parked_max",
    "read_error_limit",
    "readd_backoff_ms",
    "region_size_kb",
    "resync_chunk_kb",
    "resync_latency_factor",
    "resync_max_mb_sec",
    "resync_min_mb_sec",
    "resync_window_kb",
    "scrub_max_mb_sec",
    "scrub_mode",
    "skip_zero",
    "spare_delay_sec",
    "start_degraded_after_sec",
    "sync_source",
    "write_mostly",
    "write_through",
];

const fn required(name: &'static str, kind: &'static str, help: &'static str) -> Param {
    Param { name, kind, default: None, help }
}

const fn optional(name: &'static str, kind: &'static str, default: &'static str, help: &'static str) -> Param {
    Param { name, kind, default: Some(default), help }
}
