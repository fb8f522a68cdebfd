use crate::codec::EntityId;

/// Entities by where they are, in cubes of one size: what is near is found without a look at all.
///
/// Made anew for every tick, for all receivers. Positions that are not finite are nowhere, and near to nobody.
#[derive(Clone, Debug)]
pub struct Grid {
    edge: f32,
    /// By rising id.
    entities: Vec<(EntityId, [f32; 3])>,
    /// Indices of entities, by the cubes they are in.
    sorted: Vec<(Cube, u32)>,
    /// The same with where they are.
    places: Vec<(u32, [f32; 3])>,
    /// The cubes that hold something, in order, and where in `sorted` each begins.
    cubes: Vec<(Cube, u32)>,
}

type Cube = [i32; 3];

impl Grid {
    /// An empty one with cubes of this edge, in the unit of positions. As long as receivers look far is a good choice. What is not above 0 is taken for 1.
    pub fn new(edge: f32) -> Self {
        Self {
            edge: if edge > 0.0 && edge.is_finite() {
                edge
            } else {
                1.0
            },
            entities: Vec::new(),
            sorted: Vec::new(),
            places: Vec::new(),
            cubes: Vec::new(),
        }
    }

    /// Puts in these entities, by rising id, in place of those before. Positions in a plane have 0 as their third.
    pub fn rebuild(&mut self, entities: impl IntoIterator<Item = (EntityId, [f32; 3])>) {
        self.entities.clear();
        self.entities.extend(entities);
        debug_assert!(
            self.entities.is_sorted_by_key(|(id, _)| *id),
            "entities come by rising id"
        );
        self.sorted.clear();
        for (index, (_, position)) in self.entities.iter().enumerate() {
            if position.iter().all(|it| it.is_finite()) {
                self.sorted.push((cube(*position, self.edge), index as u32));
            }
        }
        self.sorted.sort_unstable();
        let places = self.sorted.iter().map(|(_, index)| *index);
        self.places.clear();
        self.places
            .extend(places.map(|index| (index, self.entities[index as usize].1)));
        self.cubes.clear();
        let mut begin = 0;
        for cube in self.sorted.chunk_by(|one, other| one.0 == other.0) {
            self.cubes.push((cube[0].0, begin));
            begin += cube.len() as u32;
        }
    }

    /// All entities, by rising id.
    pub fn entities(&self) -> &[(EntityId, [f32; 3])] {
        &self.entities
    }

    /// Where in `sorted` the first cube from this one on begins, or the first beyond it.
    fn begin_of(&self, cube: Cube, or_itself: bool) -> usize {
        let before = self.cubes.partition_point(|(other, _)| match or_itself {
            true => *other < cube,
            false => *other <= cube,
        });
        let cube = self.cubes.get(before);
        cube.map_or(self.sorted.len(), |(_, begin)| *begin as usize)
    }

    /// Gives each entity within `radius` of `center` with its index in [`entities`](Self::entities) and its distance, in no order.
    pub fn near(&self, center: [f32; 3], radius: f32, mut give: impl FnMut(u32, f32)) {
        if radius.is_nan() || radius < 0.0 || center.iter().any(|it| !it.is_finite()) {
            return;
        }
        let square = radius * radius;
        let mut look = |range: &[(u32, [f32; 3])]| {
            for (index, position) in range {
                let apart = square_distance(*position, center);
                if apart <= square {
                    give(*index, apart.sqrt());
                }
            }
        };
        let least = cube(center.map(|it| it - radius), self.edge);
        let most = cube(center.map(|it| it + radius), self.edge);
        let count = (0..2).map(|at| f64::from(most[at]) - f64::from(least[at]) + 1.0);
        // With cubes that are small for the radius, those that hold something are fewer.
        if count.product::<f64>() > self.cubes.len() as f64 {
            look(&self.places);
            return;
        }
        for x in least[0]..=most[0] {
            for y in least[1]..=most[1] {
                // Those above each other follow each other.
                let begin = self.begin_of([x, y, least[2]], true);
                let end = self.begin_of([x, y, most[2]], false);
                look(&self.places[begin..end]);
            }
        }
    }
}

#[inline]
fn square_distance(one: [f32; 3], other: [f32; 3]) -> f32 {
    let [x, y, z] = [0, 1, 2].map(|at| one[at] - other[at]);
    x * x + y * y + z * z
}

#[inline]
pub(super) fn distance(one: [f32; 3], other: [f32; 3]) -> f32 {
    square_distance(one, other).sqrt()
}

/// Beyond the largest number there is one cube.
fn cube(position: [f32; 3], edge: f32) -> Cube {
    position.map(|it| (it / edge).floor() as i32)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_near_is_found_and_nothing_else(
            positions in proptest::collection::vec(proptest::array::uniform3(-100.0..100_f32), 0..200),
            center in proptest::array::uniform3(-120.0..120_f32),
            radius in 0.0..150_f32,
            edge in 0.5..80_f32,
        ) {
            let mut grid = Grid::new(edge);
            grid.rebuild(positions.iter().enumerate().map(|(at, it)| (EntityId(at as u32), *it)));
            let mut found = Vec::new();
            grid.near(center, radius, |index, _| found.push(index));
            found.sort_unstable();
            let square = |it: &[f32; 3]| -> f32 { (0..3).map(|at| (it[at] - center[at]).powi(2)).sum() };
            let near = positions.iter().enumerate().filter(|(_, it)| square(it) <= radius * radius);
            let near: Vec<u32> = near.map(|(at, _)| at as u32).collect();
            prop_assert_eq!(found, near);
        }
    }

    #[test]
    fn what_is_nowhere_is_near_to_nobody() {
        let mut grid = Grid::new(1.0);
        let places = [f32::NAN, f32::INFINITY, 0.0, 3e38];
        grid.rebuild(
            (0..)
                .zip(places)
                .map(|(id, it)| (EntityId(id), [it, 0.0, 0.0])),
        );
        let mut found = Vec::new();
        grid.near([0.0; 3], 1e9, |index, _| found.push(index));
        assert_eq!(found, [2]);
        grid.near([f32::NAN, 0.0, 0.0], 1.0, |_, _| panic!("nobody is there"));
        grid.near([0.0; 3], f32::NAN, |_, _| panic!("nothing is so near"));
    }
}
