//! A run: starts games one after another, so that their two connections meet at the server, and keeps their number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, try_join};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};

use super::cli::Options;
use super::player::{Failure, Measured, Socket, Style, connect, play};
use super::server_log::{LogError, ServerLog};
use super::totals::{Finished, Tally, Totals};

/// Time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// After so many games there is one as well.
const PROGRESS_GAMES: u64 = 1000;

/// Why a run is of no use.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Not even the first game could begin.
    #[error("{failure}; is there a target-server on {address}? Start one, or give --host and --port")]
    NoServer {
        /// Where.
        address: SocketAddr,
        /// Why.
        failure: Failure,
    },
    /// See there.
    #[error(transparent)]
    Log(#[from] LogError),
}

enum Event {
    Started([Duration; 2]),
    CannotStart(Failure),
    Measured(Measured),
    Ended(Result<Finished, Failure>),
}

/// Plays all games, or until time is up or `interrupted` comes. Progress goes to stderr.
pub async fn run(options: &Options, interrupted: impl Future<Output = ()>) -> Result<Totals, RunError> {
    let log = options.server_log.as_deref().map(ServerLog::open).transpose()?;
    let began = Instant::now();
    let (events, mut received) = mpsc::unbounded_channel();
    // A task of its own, so that games begin on time whatever is done here.
    let starter = tokio::spawn(start_games(options.clone(), events));
    let mut tally = Tally::default();
    let mut progress = interval_at(began + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    progress.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let deadline = options.duration.and_then(|duration| began.checked_add(duration));
    let time_is_up = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(time_is_up, interrupted);
    loop {
        tokio::select! {
            event = received.recv() => match event {
                None => break,
                Some(Event::Started(connect)) => {
                    tally.started(connect);
                    if tally.counts().games_started.is_multiple_of(PROGRESS_GAMES) {
                        report_progress(&tally);
                    }
                }
                Some(Event::CannotStart(failure)) if tally.counts().games_started == 0 => {
                    starter.abort();
                    return Err(RunError::NoServer { address: options.address(), failure });
                }
                Some(Event::CannotStart(failure)) => tally.failed(&failure),
                Some(Event::Measured(measured)) => tally.measured(measured),
                Some(Event::Ended(result)) => {
                    if options.debug {
                        eprintln!("{result:?}");
                    }
                    tally.ended(result);
                }
            },
            _ = progress.tick() => report_progress(&tally),
            () = &mut time_is_up => break,
            () = &mut interrupted => break,
        }
    }
    // Games still on end with the runtime.
    starter.abort();
    let server = log.map(|log| log.read()).transpose()?;
    Ok(tally.finish(began.elapsed(), options.ping > 0, server))
}

fn report_progress(tally: &Tally) {
    eprintln!("started: {}, fails: {}", tally.counts().games_started, tally.counts().games_failed);
}

/// Starts game after game, as many at once as allowed. The next begins when the connections of the last are open: the
/// server pairs connections in the order in which they come.
async fn start_games(options: Options, events: mpsc::UnboundedSender<Event>) {
    let permits = Arc::new(Semaphore::new(options.parallel as usize));
    let ping = (options.ping > 0).then(|| Duration::from_millis(options.ping));
    let styles = (
        Style { beat: Duration::from_millis(options.fast), ping },
        Style { beat: Duration::from_millis(options.slow), ping: None },
    );
    for _ in 0..options.games {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        sleep(Duration::from_millis(options.time_between)).await;
        let address = options.address();
        match try_join(connect(address), connect(address)).await {
            Ok(((fast, fast_time), (slow, slow_time))) => {
                // The receiver goes only when the run is over.
                let _ = events.send(Event::Started([fast_time, slow_time]));
                let game = play_game([fast, slow], styles, events.clone());
                let events = events.clone();
                tokio::spawn(async move {
                    let _ = events.send(Event::Ended(game.await));
                    drop(permit);
                });
            }
            Err(failure) => {
                let _ = events.send(Event::CannotStart(failure));
            }
        }
    }
}

async fn play_game(
    [fast, slow]: [Socket; 2],
    (fast_style, slow_style): (Style, Style),
    events: mpsc::UnboundedSender<Event>,
) -> Result<Finished, Failure> {
    let both_open = Instant::now();
    let measured = |measured| {
        let _ = events.send(Event::Measured(measured));
    };
    let fast = play(fast, fast_style, both_open, measured);
    let slow = play(slow, slow_style, both_open, measured);
    match join(fast, slow).await {
        (Ok(fast), Ok(slow)) => Ok((fast, slow)),
        // A player that has lost its opponent is told so, and that is not what went wrong.
        (Err(Failure::OpponentDisconnected), Err(failure)) | (Err(failure), _) | (_, Err(failure)) => Err(failure),
    }
}
