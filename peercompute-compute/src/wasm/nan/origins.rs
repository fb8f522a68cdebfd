//! Where values come from, through the variables that hold them.

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Its bits are its own.
    Own,
    /// It is no NaN, or the canonical one.
    Canonical,
    /// It came out of arithmetic, and may be any NaN.
    Computed,
    /// It is what a variable held, or one of two values: what is known of that is learnt elsewhere.
    Copy(Origin),
}

/// Which variables are a part of the way: nothing is ever put into them but what came out of arithmetic, or is no NaN.
pub(super) enum Finding {
    Looking(Origins),
    /// One for each variable.
    Found(Vec<bool>),
}

impl Finding {
    /// What reading a variable gives.
    pub(super) fn value(&self, index: u32) -> Value {
        match self {
            Self::Looking(origins) => origins.value(index),
            Self::Found(on_the_way) if on_the_way[index as usize] => Value::Computed,
            Self::Found(_) => Value::Own,
        }
    }

    pub(super) fn on_the_way(&mut self) -> Vec<bool> {
        match self {
            Self::Looking(origins) => std::mem::take(origins).on_the_way(),
            Self::Found(found) => std::mem::take(found),
        }
    }
}

/// A variable by its index, or behind those a value that is one of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(pub(super) u32);

/// Where the values of variables come from.
#[derive(Default)]
pub(super) struct Origins {
    /// Which variables may be a part of the way.
    candidates: Vec<bool>,
    /// Origins in all.
    count: u32,
    /// Those that hold something whose bits are its own.
    own: Vec<Origin>,
    /// What is handed from one to another.
    copies: Vec<(Origin, Origin)>,
}

impl Origins {
    pub(super) fn new(candidates: Vec<bool>) -> Self {
        Self {
            count: u32::try_from(candidates.len()).unwrap_or(u32::MAX),
            candidates,
            ..Self::default()
        }
    }

    fn value(&self, index: u32) -> Value {
        if self.candidates[index as usize] {
            Value::Copy(Origin(index))
        } else {
            Value::Own
        }
    }

    pub(super) fn put(&mut self, value: Value, into: Origin) {
        match value {
            Value::Own => self.own.push(into),
            Value::Copy(from) => self.copies.push((from, into)),
            Value::Canonical | Value::Computed => {}
        }
    }

    pub(super) fn either(&mut self, one: Value, other: Value) -> Value {
        let origin = Origin(self.count);
        // There are fewer than bytes of code.
        self.count += 1;
        self.put(one, origin);
        self.put(other, origin);
        Value::Copy(origin)
    }

    /// Follows what is its own wherever it is handed to.
    fn on_the_way(mut self) -> Vec<bool> {
        self.copies.sort_unstable();
        let mut tainted = vec![false; self.count as usize];
        let mut next = self.own;
        while let Some(origin) = next.pop() {
            if std::mem::replace(&mut tainted[origin.0 as usize], true) {
                continue;
            }
            let first = self.copies.partition_point(|(from, _)| *from < origin);
            let copies = self.copies[first..].iter();
            next.extend(
                copies
                    .take_while(|(from, _)| *from == origin)
                    .map(|it| it.1),
            );
        }
        let is_on_the_way = |(candidate, tainted): (bool, &bool)| candidate && !tainted;
        self.candidates
            .into_iter()
            .zip(&tainted)
            .map(is_on_the_way)
            .collect()
    }
}
