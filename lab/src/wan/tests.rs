use super::*;

const MS: Duration = Duration::from_millis(1);

fn regions() -> Vec<String> {
    vec!["a".to_owned(), "b".to_owned()]
}

fn router() -> Router {
    let host = |region, address: &str| Attachment {
        region,
        addresses: vec![address.parse().unwrap()],
    };
    Router::new(
        vec![host(0, "10.1.0.1"), host(1, "10.2.0.1"), host(1, "10.2.0.2")],
        2,
        Random::new(1),
    )
}

fn matrix(path: &Path) -> Matrix {
    Matrix::new(&regions(), 3, |from, to| {
        if (from, to) == ("a", "b") {
            path.clone()
        } else {
            Path::default()
        }
    })
}

fn to(address: &str) -> Headers {
    Headers {
        destination: address.parse().unwrap(),
        opens_tcp: false,
        asks_echo: false,
        hop_limit: 64,
    }
}

fn due(fate: Fate) -> Duration {
    let Fate::Deliver { at, .. } = fate else {
        panic!("not delivered: {fate:?}")
    };
    at
}

#[test]
fn packet_arrives_after_the_latency_of_its_direction() {
    let matrix = matrix(&Path {
        latency: 5 * MS,
        ..Path::default()
    });
    let mut router = router();
    assert_eq!(
        router.route(&matrix, 0, &to("10.2.0.2"), 7 * MS),
        Fate::Deliver {
            path: 1,
            host: 2,
            at: 12 * MS,
            copies: 1,
            damage: None
        }
    );
    assert_eq!(due(router.route(&matrix, 1, &to("10.1.0.1"), 7 * MS)), 7 * MS);
}

#[test]
fn cut_path_drops_everything_and_says_so() {
    let matrix = matrix(&Path {
        up: false,
        ..Path::default()
    });
    assert_eq!(router().route(&matrix, 0, &to("10.2.0.1"), MS), Fate::Cut { path: 1 });
}

#[test]
fn request_loss_takes_echo_requests_and_nothing_else() {
    let matrix = matrix(&Path {
        request_loss: 1.0,
        ..Path::default()
    });
    let request = Headers {
        asks_echo: true,
        ..to("10.2.0.1")
    };
    assert_eq!(router().route(&matrix, 0, &request, MS), Fate::Lost { path: 1 });
    assert!(matches!(
        router().route(&matrix, 0, &to("10.2.0.1"), MS),
        Fate::Deliver { .. }
    ));
}

#[test]
fn request_latency_holds_back_echo_requests_and_nothing_else() {
    let matrix = matrix(&Path {
        request_latency: 8 * MS,
        ..Path::default()
    });
    let request = Headers {
        asks_echo: true,
        ..to("10.2.0.1")
    };
    let mut router = router();
    assert_eq!(due(router.route(&matrix, 0, &request, MS)), 9 * MS);
    assert_eq!(due(router.route(&matrix, 0, &to("10.2.0.1"), 2 * MS)), 2 * MS);
}

#[test]
fn a_bad_link_loses_what_its_host_sends_and_gets_and_nothing_else() {
    let mut matrix = matrix(&Path::default());
    matrix.set_host_loss(1, 1.0);
    let mut router = router();
    assert_eq!(router.route(&matrix, 0, &to("10.2.0.1"), MS), Fate::Lost { path: 1 });
    assert_eq!(router.route(&matrix, 1, &to("10.1.0.1"), MS), Fate::Lost { path: 2 });
    assert!(matches!(
        router.route(&matrix, 0, &to("10.2.0.2"), MS),
        Fate::Deliver { .. }
    ));
}

#[test]
fn unknown_destination_and_last_hop_end_nowhere() {
    let matrix = matrix(&Path::default());
    assert_eq!(router().route(&matrix, 0, &to("10.9.0.1"), MS), Fate::Nowhere);
    assert_eq!(
        router().route(
            &matrix,
            0,
            &Headers {
                hop_limit: 1,
                ..to("10.2.0.1")
            },
            MS
        ),
        Fate::Nowhere
    );
}

#[test]
fn loss_is_as_frequent_as_set() {
    let matrix = matrix(&Path {
        loss: 0.1,
        ..Path::default()
    });
    let mut router = router();
    let lost = (0..20_000)
        .filter(|_| router.route(&matrix, 0, &to("10.2.0.1"), MS) == Fate::Lost { path: 1 })
        .count();
    assert!((1_800..2_200).contains(&lost), "{lost}");
}

#[test]
fn jitter_spreads_evenly_and_keeps_the_order_unless_told_otherwise() {
    for reorder in [false, true] {
        let matrix = matrix(&Path {
            latency: 10 * MS,
            jitter: 4 * MS,
            reorder,
            ..Path::default()
        });
        let mut router = router();
        let dues: Vec<_> = (0..2_000_u32)
            .map(|n| due(router.route(&matrix, 0, &to("10.2.0.1"), n * MS)))
            .collect();
        assert_eq!(dues.is_sorted(), !reorder);
        assert!(
            dues.iter()
                .zip(0..)
                .all(|(at, n)| (n * MS + 6 * MS..=n * MS + 14 * MS).contains(at))
        );
        if reorder {
            let mean = dues
                .iter()
                .zip(0..)
                .map(|(at, n)| at.saturating_sub(n * MS))
                .sum::<Duration>()
                / 2_000;
            assert!(mean.abs_diff(10 * MS) < MS / 5, "{mean:?}");
        }
    }
}

#[test]
fn held_back_syn_does_not_hold_back_others() {
    let mut matrix = matrix(&Path {
        latency: 5 * MS,
        ..Path::default()
    });
    matrix.set_syn_delay(1, 50 * MS);
    let mut router = router();
    let syn = |address| Headers {
        opens_tcp: true,
        ..to(address)
    };
    assert_eq!(due(router.route(&matrix, 0, &syn("10.2.0.1"), MS)), 56 * MS);
    assert_eq!(due(router.route(&matrix, 0, &syn("10.2.0.2"), MS)), 6 * MS);
    assert_eq!(due(router.route(&matrix, 0, &to("10.2.0.1"), 2 * MS)), 7 * MS);
}

#[test]
fn equal_seeds_give_equal_fates() {
    let matrix = matrix(&Path {
        loss: 0.3,
        jitter: MS,
        duplicate: 0.2,
        ..Path::default()
    });
    let run = || {
        let mut router = router();
        (0..200_u32)
            .map(|n| router.route(&matrix, 0, &to("10.2.0.1"), n * MS))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

/// Four standard deviations of a binomial count around its mean: a right die leaves it once in 16,000 tries, and the
/// seeds are fixed.
fn assert_binomial(count: usize, of: u32, probability: f64) {
    let (count, of) = (f64::from(u32::try_from(count).unwrap()), f64::from(of));
    let deviation = (of * probability * (1.0 - probability)).sqrt();
    assert!(
        (count - of * probability).abs() <= 4.0 * deviation,
        "{count} of {of} instead of {probability}"
    );
}

fn fates(path: &Path, packets: u32) -> Vec<Fate> {
    let (matrix, mut router) = (matrix(path), router());
    (0..packets)
        .map(|n| router.route(&matrix, 0, &to("10.2.0.1"), n * MS))
        .collect()
}

#[test]
fn damage_is_as_frequent_as_set_and_of_the_kind_set() {
    for (corrupt, corrupt_checksum) in [(0.1, 0.0), (0.0, 0.03), (0.5, 0.5), (1.0, 0.0), (0.0, 1.0)] {
        let path = Path {
            corrupt,
            corrupt_checksum,
            ..Path::default()
        };
        let fates = fates(&path, 20_000);
        let damaged = |kind: bool| {
            let damages = fates
                .iter()
                .filter(|fate| matches!(fate, Fate::Deliver { damage: Some(damage), .. } if damage.mended == kind));
            damages.count()
        };
        assert_binomial(damaged(true), 20_000, corrupt);
        assert_binomial(damaged(false), 20_000, (1.0 - corrupt) * corrupt_checksum);
    }
}

#[test]
fn burst_and_independent_loss_add_up_to_the_mean() {
    let path = Path {
        loss: 0.05,
        // Neighbours that do not resemble each other (enter + leave = 1), so that the binomial bounds hold.
        burst: Some(Burst {
            enter: 0.2,
            leave: 0.8,
            loss: 0.5,
        }),
        ..Path::default()
    };
    assert!((path.mean_loss() - 0.145).abs() < 1e-9);
    let lost = fates(&path, 50_000);
    let lost = lost.iter().filter(|fate| **fate == Fate::Lost { path: 1 }).count();
    assert_binomial(lost, 50_000, path.mean_loss());
}

#[test]
fn bad_stretch_of_one_path_leaves_others_alone() {
    let matrix = matrix(&Path {
        burst: Some(Burst {
            enter: 1.0,
            leave: 0.0,
            loss: 1.0,
        }),
        ..Path::default()
    });
    let mut router = router();
    for _ in 0..100 {
        assert_eq!(router.route(&matrix, 0, &to("10.2.0.1"), MS), Fate::Lost { path: 1 });
        assert_eq!(due(router.route(&matrix, 1, &to("10.1.0.1"), MS)), MS);
    }
}
