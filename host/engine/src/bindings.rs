//! What `wit/` says, as Rust: generated, private, and never named in a public signature.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "agent",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        "skep:agent/messaging.send": async | trappable,
        "skep:agent/messaging.send-with": async | trappable,
        "skep:agent/messaging.ask": async | trappable,
        "skep:agent/messaging.call": async | trappable,
        "skep:agent/state": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    include_component_type: true,
});
