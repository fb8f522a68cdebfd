use peercompute_net::PeerId;

/// Whose a thing is, before it is asked who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ownership {
    /// Everybody's, such as the terrain.
    Shared,
    /// One peer's, such as its avatar.
    Of(PeerId),
}

impl Ownership {
    /// Reads it from the name of an entity in a namespace: what is called after a peer, `<peer id>` or `<peer id>/…`, in the entity or as the first part of the namespace, is that peer's. All else is shared.
    pub fn of(namespace: &str, entity: &str) -> Self {
        let named = |name: &str| {
            let first = name.split('/').next().unwrap_or_default();
            first.parse().ok().map(Self::Of)
        };
        named(entity)
            .or_else(|| named(namespace))
            .unwrap_or(Self::Shared)
    }
}
