//! What a client does wrong ends its own game and nothing else.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::client::Client;
use super::process::ServerProcess;

/// Games of about a second, for those that come to their end.
const FAST: &[&str] = &["--bulletSpeed", "2000"];

/// A game that goes on beside the faults, and in the end is played to its end.
struct Undisturbed {
    server: ServerProcess,
    players: [Client; 2],
}

impl Undisturbed {
    async fn start(options: &[&str]) -> Self {
        let server = ServerProcess::start(options);
        let players = Client::pair(server.port).await;
        Self { server, players }
    }

    /// The opponent of one who is gone is told so.
    async fn assert_opponent_is_told(&self, opponent: &mut Client) {
        let stop = opponent.receive_stop().await;
        assert_eq!(stop["errorMsg"], "Opponent disconnected");
        assert_eq!(stop["won"], false);
    }

    async fn finish(mut self, games: u64) {
        self.players[1].fire().await;
        let stops = [self.players[0].receive_stop().await, self.players[1].receive_stop().await];
        assert_eq!([&stops[0]["won"], &stops[1]["won"]], [false, true]);
        assert_eq!([&stops[0]["bulletsFired"], &stops[1]["bulletsFired"]], [0, 1]);
        assert!(stops.iter().all(|stop| stop.get("errorMsg").is_none()), "{stops:?}");
        let log = self.server.stop();
        let played = log.iter().filter(|line| line["title"] == "games-played");
        assert_eq!(played.filter_map(|line| line["count"].as_u64()).sum::<u64>(), games);
    }
}

async fn invalid_messages(options: &[&str]) {
    let undisturbed = Undisturbed::start(options).await;
    let invalid = [
        Message::text("fire"),
        Message::text(""),
        Message::text("null"),
        Message::text("[".repeat(2000)),
        Message::text(format!(r#"{{"type":"{}"}}"#, "x".repeat(5000))),
        Message::binary(&b"\xff\xfe"[..]),
        Message::binary(vec![b' '; 1 << 20]),
    ];
    for message in invalid {
        let [mut offender, mut opponent] = Client::pair(undisturbed.server.port).await;
        // The server may cut the connection while a large message is on its way.
        let _ = futures_util::SinkExt::send(&mut offender.0, message).await;
        undisturbed.assert_opponent_is_told(&mut opponent).await;
        assert_eq!(offender.receive().await, None);
    }
    undisturbed.finish(8).await;
}

#[tokio::test]
async fn invalid_messages_end_only_their_game() {
    invalid_messages(FAST).await;
}

#[tokio::test]
async fn invalid_messages_end_only_their_game_with_the_global_timer() {
    invalid_messages(&[FAST, &["--timer", "global", "--bullets", "array"]].concat()).await;
}

#[tokio::test]
async fn invalid_frames_end_only_their_game() {
    let undisturbed = Undisturbed::start(FAST).await;
    let frames: [&[u8]; 4] = [
        // Reserved bits; an unmasked text; a continuation of nothing; a frame of 2^63 bytes.
        &[0xf1, 0x80, 0, 0, 0, 0],
        &[0x81, 0x02, b'{', b'}'],
        &[0x80, 0x80, 0, 0, 0, 0],
        &[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
    ];
    for frame in frames {
        let [mut offender, mut opponent] = Client::pair(undisturbed.server.port).await;
        offender.0.get_mut().write_all(frame).await.unwrap();
        undisturbed.assert_opponent_is_told(&mut opponent).await;
    }
    undisturbed.finish(5).await;
}

#[tokio::test]
async fn closes_end_only_their_game() {
    let undisturbed = Undisturbed::start(FAST).await;
    for goes in 0..4 {
        let [leaver, mut opponent] = Client::pair(undisturbed.server.port).await;
        let mut leaver = leaver.0;
        match goes {
            0 => leaver.close(None).await.unwrap(),
            // Without the closing handshake.
            1 => drop(leaver),
            // By a reset.
            2 => {
                leaver.get_mut().set_zero_linger().unwrap();
                drop(leaver);
            }
            // In the midst of a frame.
            _ => {
                leaver.get_mut().write_all(&[0x81, 0x8f, 1, 2]).await.unwrap();
                drop(leaver);
            }
        }
        undisturbed.assert_opponent_is_told(&mut opponent).await;
    }
    let both = Client::pair(undisturbed.server.port).await;
    drop(both);
    undisturbed.finish(6).await;
}

#[tokio::test]
async fn what_is_no_websocket_never_becomes_a_player() {
    let undisturbed = Undisturbed::start(FAST).await;
    let port = undisturbed.server.port;
    let mut kept = Vec::new();
    for bytes in [&b""[..], b"GET / HTTP/1.1\r\n\r\n", b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00", &[b'A'; 100_000]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The server may close before it has read all.
        let _ = stream.write_all(bytes).await;
        kept.push(stream);
    }
    let [mut leaver, mut opponent] = Client::pair(port).await;
    leaver.0.close(None).await.unwrap();
    undisturbed.assert_opponent_is_told(&mut opponent).await;
    undisturbed.finish(2).await;
}

#[tokio::test]
async fn a_waiting_player_that_goes_does_not_block_the_next() {
    let undisturbed = Undisturbed::start(FAST).await;
    let mut gone = Client::connect(undisturbed.server.port).await;
    gone.0.close(None).await.unwrap();
    // The server's answer shows that it knows.
    assert_eq!(gone.receive().await, None);
    let [mut one, mut two] = Client::pair(undisturbed.server.port).await;
    one.fire().await;
    assert_eq!([one.receive_stop().await["won"].clone(), two.receive_stop().await["won"].clone()], [true, false]);
    undisturbed.finish(2).await;
}

#[tokio::test]
async fn unknown_messages_and_pings_are_no_fault() {
    let mut undisturbed = Undisturbed::start(FAST).await;
    let player = &mut undisturbed.players[0];
    let unknown = [
        r#"{"type":"dance","with":["you"]}"#,
        "{}",
        "5",
        "true",
        r#""fire""#,
        r#"["fire"]"#,
        r#"{"type":1}"#,
        r#"{"type":null}"#,
    ];
    for message in unknown {
        player.send(message).await;
        player.send(Message::binary(message)).await;
    }
    player.expect_pong(b"there?").await;
    undisturbed.finish(1).await;
}

#[tokio::test]
async fn any_path_will_do() {
    let undisturbed = Undisturbed::start(FAST).await;
    let port = undisturbed.server.port;
    let mut players = [Client::connect_to(port, "/a/b?c=d").await, Client::connect_to(port, "/%00").await];
    for player in &mut players {
        assert_eq!(player.receive().await.unwrap(), r#"{"type":"start"}"#);
    }
    players[0].fire().await;
    assert_eq!(players[0].receive_stop().await["won"], true);
    undisturbed.finish(2).await;
}

#[tokio::test]
async fn connections_stay_open_after_the_game() {
    let undisturbed = Undisturbed::start(FAST).await;
    let mut players = Client::pair(undisturbed.server.port).await;
    players[0].fire().await;
    for player in &mut players {
        player.receive_stop().await;
    }
    // A game that is over takes no notice, also not of what is invalid.
    for player in &mut players {
        player.fire().await;
        player.send("null").await;
        player.expect_pong(b"still there?").await;
    }
    undisturbed.finish(2).await;
}

/// It neither reads nor sends nor closes: all that the server could see of a peer whose machine has gone.
#[tokio::test]
async fn a_silent_peer_loses_and_holds_nobody_up() {
    let undisturbed = Undisturbed::start(FAST).await;
    let port = undisturbed.server.port;
    for silent_first in [true, false] {
        let (silent, mut player);
        if silent_first {
            silent = Client::connect(port).await;
            player = Client::connect(port).await;
        } else {
            player = Client::connect(port).await;
            silent = Client::connect(port).await;
        }
        assert_eq!(player.receive().await.unwrap(), r#"{"type":"start"}"#);
        player.fire().await;
        let stop = player.receive_stop().await;
        assert_eq!((&stop["won"], stop.get("errorMsg")), (&true.into(), None));
        drop(silent);
    }
    undisturbed.finish(3).await;
}
