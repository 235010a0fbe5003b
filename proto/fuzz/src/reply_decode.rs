//! The client's machine against arbitrary replies, results and reports: a figure that comes out is finite and
//! makes sense, or the answer is refused and the peer is blamed.

use ringperf_proto::native::VERSION_OF_WISHES;
use ringperf_proto::{
    ClassicTest, Client, ClientConfig, ClientInput, ClientOutput, CpuReport, Fault, OmniTest, Party,
    RemoteResults, Test, TestRequest, Wishes,
};

use super::script::Script;

/// The first byte of `data` says whether there is a passphrase, and whether it is proven. Then
/// come questions, each with the frames that answer it.
pub fn reply_decode(data: &[u8]) {
    let mut script = Script::new(data);
    let kind = script.byte();
    let passphrase = (kind & 1 != 0).then(|| b"sesame".to_vec());
    let mut client = Client::new(ClientConfig { passphrase });
    if kind & 2 != 0 {
        client = client.proving();
    }
    let mut version = 0;
    let mut again: Option<TestRequest> = None;
    while !script.is_over() {
        let question = match (script.byte() % 8, &again) {
            (0, _) => ClientInput::AskReport,
            (1, _) => ClientInput::Calibrate,
            (2, _) => ClientInput::Probe,
            (3, _) if version >= VERSION_OF_WISHES => ClientInput::Wish(wishes(&mut script)),
            (4, Some(test)) => ClientInput::Start(test.clone()),
            (5, _) => ClientInput::Start(classic(&mut script)),
            _ => ClientInput::Start(omni(&mut script)),
        };
        let started = match &question {
            ClientInput::Start(test) => Some(test.clone()),
            _ => None,
        };
        let Some((next, output)) = ask(client, question, started.as_ref(), &mut again, &mut script) else {
            return;
        };
        client = next;
        if let ClientOutput::Native(told) = output {
            version = told.unwrap_or(0);
        }
    }
}

/// Drives the machine to its answer. `None` where there is none: a fault, which has to be the peer's, or the
/// end of the script.
fn ask(
    client: Client,
    question: ClientInput,
    test: Option<&TestRequest>,
    again: &mut Option<TestRequest>,
    script: &mut Script<'_>,
) -> Option<(Client, ClientOutput)> {
    let (mut client, mut input) = (client, question);
    let wished = match &input {
        ClientInput::Wish(wishes) => Some(*wishes),
        _ => None,
    };
    loop {
        let awaited = matches!(input, ClientInput::Frame(_));
        let (next, output) = match client.on(input) {
            Ok(stepped) => stepped,
            Err(fault) => {
                // Whose the fault of a wrong passphrase is, nobody can tell; our own user can mend it.
                let blamed = fault.party() == Party::Peer || fault == Fault::Unproven;
                assert!(awaited && blamed, "{fault} after what it asked for");
                assert!(!fault.to_string().is_empty());
                return None;
            }
        };
        client = next;
        check(&output, wished.as_ref());
        input = match output {
            ClientOutput::Send(_) => ClientInput::Sent,
            ClientOutput::Wait => ClientInput::Frame(script.frame()?),
            ClientOutput::Run(offer) => {
                *again = test.map(|test| test.next_iteration(&offer));
                ClientInput::Ran
            }
            answer => return Some((client, answer)),
        };
    }
}

fn check(output: &ClientOutput, wished: Option<&Wishes>) {
    let sound = |figure: f32| figure.is_finite() && figure >= 0.0;
    match output {
        ClientOutput::Calibrated { rate, .. } => assert!(sound(*rate), "{rate}"),
        ClientOutput::Finished(results) => check_results(results),
        ClientOutput::Granted(granted) => {
            let wished = wished.expect("wishes are granted where there were some");
            assert!((1..=wished.workers).contains(&granted.workers), "{granted:?}");
            assert_eq!(*granted, Wishes { workers: granted.workers, ..*wished });
        }
        ClientOutput::Run(offer) => assert!(offer.port != 0 && sound(offer.cpu_rate), "{offer:?}"),
        ClientOutput::Native(_) | ClientOutput::Report(_) | ClientOutput::Send(_) | ClientOutput::Wait => {}
    }
}

fn check_results(results: &RemoteResults) {
    assert!(results.elapsed_seconds.is_none_or(|time| time.is_finite() && time >= 0.0), "{results:?}");
    assert!(results.retransmits.is_none_or(|count| count >= 0), "{results:?}");
    if let Some(cpu) = &results.cpu {
        let CpuReport { utilisation, user, system, iowait, irq, softirq, peak_utilisation, .. } = *cpu;
        let parts = [utilisation, user, system, iowait, irq, softirq, peak_utilisation];
        assert!(parts.iter().all(|part| part.is_finite() && *part >= 0.0), "{cpu:?}");
    }
    let name = results.congestion_control.as_deref().unwrap_or("none");
    assert!(name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
}

fn omni(script: &mut Script<'_>) -> TestRequest {
    let test = script.one_of(&Test::ALL);
    let choices = script.byte();
    OmniTest {
        measure_cpu: choices & 1 != 0,
        dont_route: choices & 2 != 0,
        local: (None, 40_000),
        ..OmniTest::new(test)
    }
    .into()
}

fn classic(script: &mut Script<'_>) -> TestRequest {
    let test = script.one_of(&[Test::TcpCc, Test::TcpStream]);
    ClassicTest { measure_cpu: u32::from(script.byte() & 1), ..ClassicTest::new(test) }.into()
}

fn wishes(script: &mut Script<'_>) -> Wishes {
    let flows = u32::from(script.byte()) + 1;
    Wishes { flows, workers: u32::from(script.byte()).clamp(1, flows), ..Wishes::default() }
}
