//! One node's part in the tree.

use std::time::Duration;

use peercompute_swarm::cell::{
    Beacon, Candidate, MAX_TREE_HOPS, MAX_TREE_NEIGHBOURS, ROOT_KEPT, Rank, Role,
    SEQUENCE_INTERVAL, Tree,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const A: Candidate = Candidate(0);
const B: Candidate = Candidate(1);

fn at(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn tree() -> Tree {
    let mut tree = Tree::new(Duration::ZERO, Rank::new(5, 1));
    assert!(tree.add_neighbour(Duration::ZERO, A));
    assert!(tree.add_neighbour(Duration::ZERO, B));
    tree
}

fn beacon(root: Rank, sequence: u32, hops: u8) -> Beacon {
    let mut beacon = Beacon::new(root);
    (beacon.sequence, beacon.hops) = (sequence, hops);
    beacon
}

fn told(tree: &mut Tree, now: Duration) -> Vec<(Candidate, Beacon)> {
    std::iter::from_fn(|| tree.poll_beacon(now)).collect()
}

#[test]
fn a_node_hangs_on_the_neighbour_that_knows_of_a_better_root() {
    let mut tree = tree();
    tree.handle_beacon(at(0.1), A, beacon(Rank::new(7, 2), 3, 1));
    assert_eq!((tree.parent(), tree.hops()), (Some(A), 2));
    assert_eq!(tree.role(), Role::Child);
    let told = told(&mut tree, at(0.1));
    let to = |name| told.iter().find(|(to, _)| *to == name).expect("told").1;
    assert!(to(A).parent && !to(B).parent);
    assert_eq!((to(B).root, to(B).hops), (Rank::new(7, 2), 2));
}

#[test]
fn a_node_of_the_highest_rank_leads_those_who_say_that_they_hang_on_it() {
    let mut tree = tree();
    assert_eq!(tree.role(), Role::Peer);
    let mut said = beacon(tree.rank(), 1, 1);
    said.parent = true;
    tree.handle_beacon(at(0.1), B, said);
    assert_eq!(tree.role(), Role::Root);
    assert_eq!(tree.children().collect::<Vec<_>>(), [B]);
}

#[test]
fn the_link_to_a_child_that_has_nobody_else_is_kept() {
    let mut tree = tree();
    let mut said = beacon(tree.rank(), 1, 1);
    (said.parent, said.spare) = (true, false);
    tree.handle_beacon(at(0.1), B, said);
    assert!(!tree.may_leave(at(0.1), B));
    said.spare = true;
    tree.handle_beacon(at(0.2), B, said);
    assert!(tree.may_leave(at(0.2), B));
}

#[test]
fn the_link_to_the_parent_is_given_up_for_another_only() {
    let mut tree = tree();
    let root = Rank::new(7, 2);
    tree.handle_beacon(at(0.1), A, beacon(root, 3, 1));
    tree.handle_beacon(at(0.1), B, beacon(root, 3, 2));
    let (parent, other) = (A, B);
    assert_eq!(tree.parent(), Some(parent));
    // B is as far as the node itself: who of the two may hang on the other is decided by a number.
    let mut near = beacon(root, 3, 3);
    tree.handle_beacon(at(0.2), other, near);
    assert!(!tree.release(at(0.2), parent));
    near.hops = 1;
    tree.handle_beacon(at(0.3), other, near);
    assert!(tree.release(at(0.3), parent));
    assert_eq!(tree.parent(), Some(other));
    assert!(!tree.release(at(0.3), other), "nobody is left");
    tree.stay(at(0.4), parent);
    assert!(tree.release(at(0.4), other));
}

#[test]
fn a_parent_that_is_not_wanted_makes_way_with_the_next_number_for_somebody_farther() {
    let root = Rank::new(7, 2);
    for asks in [false, true] {
        let mut tree = tree();
        tree.handle_beacon(at(0.1), A, beacon(root, 3, 0));
        tree.handle_beacon(at(0.1), B, beacon(root, 3, 5));
        assert!(!tree.may_leave(at(0.1), A));
        let mut next = beacon(root, 4, 0);
        next.away = asks;
        if !asks {
            tree.avoid(at(0.2), A);
        }
        tree.handle_beacon(at(5.0), A, next);
        assert_eq!(tree.parent(), Some(A), "B may be behind this node");
        tree.handle_beacon(at(5.1), B, beacon(root, 4, 5));
        assert_eq!((tree.parent(), tree.hops()), (Some(B), 6));
        assert!(tree.may_leave(at(5.1), A));
    }
}

#[test]
fn a_link_between_two_roots_is_kept() {
    let mut tree = tree();
    tree.handle_beacon(at(0.1), A, beacon(Rank::new(1, 9), 3, 0));
    assert!(!tree.may_leave(at(0.1), A));
    tree.handle_beacon(at(0.2), A, beacon(tree.rank(), 1, 1));
    assert!(tree.may_leave(at(0.2), A));
}

#[test]
fn a_link_does_not_end_if_somebody_has_heard_of_another_root_meanwhile() {
    let mut tree = tree();
    tree.handle_beacon(at(0.1), A, beacon(tree.rank(), 1, 1));
    assert!(tree.release(at(0.2), A));
    assert!(tree.may_end(at(0.2), A));
    tree.handle_beacon(at(0.3), B, beacon(Rank::new(7, 2), 3, 1));
    assert!(!tree.may_end(at(0.3), A));
}

#[test]
fn a_root_that_is_silent_is_forgotten_and_not_believed_again_by_hearsay() {
    let mut tree = tree();
    let root = Rank::new(7, 2);
    tree.handle_beacon(at(0.0), A, beacon(root, 3, 1));
    assert_eq!(tree.root(), root);
    let due = tree.poll_timeout().expect("it has a root to forget");
    assert!(due <= at(ROOT_KEPT) + at(0.001));
    tree.handle_timeout(due);
    assert_eq!((tree.root(), tree.parent()), (tree.rank(), None));
    tree.handle_beacon(at(ROOT_KEPT + 1.0), B, beacon(root, 3, 1));
    assert_eq!(tree.root(), tree.rank());
    tree.handle_beacon(at(ROOT_KEPT + 2.0), B, beacon(root, 4, 1));
    assert_eq!(tree.root(), root);
}

#[test]
fn a_root_that_comes_back_counts_on_from_what_others_remember() {
    let mut tree = tree();
    told(&mut tree, at(0.0));
    tree.handle_beacon(at(0.1), A, beacon(tree.rank(), 57, 1));
    let told = told(&mut tree, at(0.1));
    assert!(told.iter().all(|(_, beacon)| beacon.sequence > 57));
    assert_eq!(told.len(), 2);
}

#[test]
fn who_says_what_no_node_says_is_not_heard() {
    let mut tree = tree();
    let far = beacon(Rank::new(255, 2), 3, MAX_TREE_HOPS + 1);
    tree.handle_beacon(at(0.1), A, far);
    tree.handle_beacon(at(0.1), B, beacon(tree.rank(), u32::MAX, 1));
    assert_eq!(tree.root(), tree.rank());
    for (_, beacon) in told(&mut tree, at(0.1)) {
        assert!(beacon.sequence < u32::MAX);
    }
}

#[test]
fn made_up_roots_are_passed_on_no_faster_than_true_ones_need() {
    let mut tree = tree();
    let mut passed = 0;
    for step in 0..10_000_u32 {
        let now = at(f64::from(step) * 0.001);
        tree.handle_beacon(
            now,
            A,
            beacon(Rank::new(200, u64::from(step) + 10), step, 1),
        );
        passed += told(&mut tree, now)
            .iter()
            .filter(|(to, _)| *to == B)
            .count();
    }
    assert!(passed < 40, "{passed} beacons in ten seconds");
}

#[test]
fn who_takes_no_part_in_the_tree_holds_nobody() {
    let mut tree = tree();
    tree.handle_beacon(at(0.1), B, beacon(tree.rank(), 1, 1));
    assert!(!tree.may_leave(at(1.0), A));
    assert!(tree.may_leave(at(3.0 * ROOT_KEPT), A));
}

#[test]
fn a_root_counts_every_few_seconds_and_only_while_somebody_listens() {
    let mut tree = Tree::new(Duration::ZERO, Rank::new(5, 1));
    assert_eq!(tree.poll_timeout(), None);
    tree.add_neighbour(Duration::ZERO, A);
    let first = told(&mut tree, Duration::ZERO);
    let due = tree.poll_timeout().expect("a root counts");
    assert!(due <= at(SEQUENCE_INTERVAL) + at(0.001));
    tree.handle_timeout(due);
    let second = told(&mut tree, due);
    assert!(second[0].1.sequence > first[0].1.sequence);
    tree.remove_neighbour(due, A);
    tree.handle_timeout(at(100.0));
    assert_eq!(tree.poll_timeout(), None);
}

#[test]
fn neighbours_are_bounded() {
    let mut tree = Tree::new(Duration::ZERO, Rank::new(5, 1));
    for name in 0..MAX_TREE_NEIGHBOURS as u32 {
        assert!(tree.add_neighbour(Duration::ZERO, Candidate(name)));
    }
    assert!(!tree.add_neighbour(Duration::ZERO, Candidate(u32::MAX)));
}
