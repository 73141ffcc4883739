//! Many hosts as one hive: agents of other hosts are addressed by name, and what is for them waits here until their host
//! has it in its own journal. Never how it travels: that is the bus.

mod view;

pub use view::{ClusterOptions, NatsServer, NodeState, NodeView, OutboxView};
