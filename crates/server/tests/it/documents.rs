//! The lines of `docs/payments.md` are run, in order, against a server.

use serde_json::Value;

use crate::site::Site;

const PAGE: &str = include_str!("../../../../docs/payments.md");

/// A command of the page, with the status that the comment above it promises.
struct Command {
    status: u16,
    method: String,
    path: String,
    key: String,
    body: Option<String>,
}

fn commands() -> Vec<Command> {
    // Bodies may go on over several lines, with two spaces or more before them.
    let joined = PAGE.replace("\\\n", " ").replace("\n       ", " ");
    let mut status = 0;
    let mut commands = Vec::new();
    for line in joined.lines() {
        if let Some(promised) = line.strip_prefix("# -> ") {
            status = promised.split(' ').next().unwrap().parse().unwrap();
        }
        let Some(rest) = line.strip_prefix("curl ") else { continue };
        let body = rest.split_once("-d '").map(|(_, body)| body.trim_end().trim_end_matches('\'').to_owned());
        let head = rest.split(" -d '").next().unwrap();
        let words: Vec<&str> = head.split_whitespace().collect();
        let after =
            |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1].to_owned());
        let url = words.iter().find(|word| word.starts_with("$SERVER")).expect("a command names the server");
        commands.push(Command {
            status,
            method: after("-X").unwrap_or_else(|| "GET".to_owned()),
            path: url.trim_start_matches("$SERVER").to_owned(),
            key: words
                .iter()
                .find(|word| word.starts_with("$") && word.ends_with("_KEY\""))
                .unwrap()
                .to_string(),
            body,
        });
    }
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_does_what_it_says() {
    let site = Site::start().await;
    let payer = site.payer("ada", 0).await;
    let second = site.second_person().await;
    let mut known: Vec<(String, String)> = vec![
        ("$ACCOUNT".to_owned(), payer.to_string()),
        ("$MERCHANT".to_owned(), site.merchant_id.to_string()),
    ];
    let commands = commands();
    assert!(commands.len() >= 12, "{}", commands.len());
    for command in &commands {
        let fill = |text: &str, code: &str| {
            let mut text = text.replace("$CODE", code);
            for (name, value) in &known {
                text = text.replace(name.as_str(), value);
            }
            text
        };
        let wants_code = command.body.as_deref().is_some_and(|body| body.contains("$CODE"));
        let code = if wants_code { site.code(payer).await } else { String::new() };
        let caller = match command.key.as_str() {
            "$OPERATOR_KEY\"" => &site.operator,
            "$SECOND_KEY\"" => &second,
            "$MERCHANT_KEY\"" => &site.merchant,
            other => panic!("unknown key {other}"),
        };
        let path = fill(&command.path, &code);
        let body: Option<Value> = command.body.as_deref().map(|body| {
            serde_json::from_str(&fill(body, &code)).unwrap_or_else(|error| panic!("{body}: {error}"))
        });
        let reply = match command.method.as_str() {
            "POST" => caller.post(&path, body.unwrap_or(Value::Object(Default::default()))).await,
            "PUT" => caller.put(&path, body.unwrap()).await,
            _ => caller.get(&path).await,
        };
        assert_eq!(reply.status, command.status, "{path}: {}", reply.body);
        for (name, field) in [("$PAYMENT", "id"), ("$RECEIPT", "receipt"), ("$SETTLEMENT", "id")] {
            let wanted = match name {
                "$SETTLEMENT" => path == "/v1/settlements",
                _ => path == "/v1/payments" && reply.status < 300,
            };
            if let Some(value) = reply.body[field].as_str().filter(|_| wanted) {
                known.retain(|(known, _)| known != name);
                known.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
