//! Looking at destinations, trying, pausing and resuming them.

use serde_json::json;

use super::{CONFIG, Home, ORDERS};
use crate::support::receiver::{Answer, Receiver, SECRET};

/// With one destination and an empty database.
fn sending_to(url: &str) -> Home {
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"my-tool\"\nurl = \"{url}\"\nallow_http = true\nsecret = \"{SECRET}\"\n"
    ));
    drop(home.database());
    home
}

/// Runs a command beside this thread, on which the receiver answers.
async fn beside(home: &Home, arguments: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let arguments = [arguments, &["--format", "json"]].concat();
    let mut command = home.command(&arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), json, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_test_shows_request_answer_and_a_diagnosis() {
    let tool = Receiver::start().await;
    let home = sending_to(tool.url());
    let (code, trial, _) = beside(&home, &["destinations", "test", "my-tool"]).await;
    assert_eq!((code, &trial["ok"]), (Some(0), &json!(true)), "{trial}");
    assert_eq!(trial["diagnosis"], "It works: your tool took the test event.");
    let [request] = tool.received().try_into().unwrap();
    request.assert_verified();
    assert_eq!((&request.json()["type"], &request.json()["test"]), (&json!("test"), &json!(true)));
    assert!(trial["requests"][0]["body"].as_str().unwrap().contains("\"test\":true"));
    let shown = trial.to_string();
    assert!(!shown.contains("secret-path") && !shown.contains("v1,"), "no secret is shown: {shown}");

    tool.answers(Answer::from(401).body("who are you?"));
    let (code, trial, _) = beside(&home, &["destinations", "test", "my-tool"]).await;
    assert_eq!((code, &trial["ok"]), (Some(1), &json!(false)));
    assert_eq!(
        (&trial["requests"][0]["status"], &trial["requests"][0]["answer"]),
        (&json!(401), &json!("who are you?"))
    );
    assert_eq!(
        trial["diagnosis"],
        "Your tool answered 401: it does not accept the request; check the key. The signing secret here and the one \
         in your tool differ, or it wants a header of its own: see `headers`."
    );
    let (code, _, error) = beside(&home, &["destinations", "test", "my-tol"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("there are: my-tool"), "{error}");
}

#[tokio::test]
async fn a_test_has_the_shape_that_the_queue_sends() {
    let tool = Receiver::start().await;
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"my-tool\"\nurl = \"{}\"\nallow_http = true\nsecret = \"{SECRET}\"\nbatch = 10\n",
        tool.url()
    ));
    drop(home.database());
    tool.answers(Answer::from(200).body("you sent POST /hook/secret-path"));
    let (code, trial, _) = beside(&home, &["destinations", "test", "my-tool"]).await;
    assert_eq!((code, &trial["requests"][0]["answer"]), (Some(0), &json!("you sent POST …")), "{trial}");
    let body = tool.received()[0].json();
    assert_eq!((&body["type"], &body["count"]), (&json!("test.batch"), &json!(1)));
    assert_eq!(tool.received()[0].header("quintile-event"), "test.batch");
    assert_eq!(body["data"]["events"][0]["test"], json!(true));

    tool.answers(Answer::from(200).header("webhook-delivery", "disable"));
    let (code, trial, _) = beside(&home, &["destinations", "test", "my-tool"]).await;
    assert_eq!(code, Some(1));
    let words = "Your tool asked for nothing more (webhook-delivery: disable). A delivery with this answer would disable the destination.";
    assert_eq!(trial["diagnosis"], words);
}

#[tokio::test]
async fn a_test_about_a_customer_says_what_is_so() {
    let tool = Receiver::start().await;
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"brevo\"\nkind = \"brevo\"\nbase_url = \"{}\"\nallow_http = true\napi_key = \"k\"\n",
        tool.url()
    ));
    home.write("orders.csv", ORDERS);
    home.ok(&["import", "orders.csv"]);
    home.ok(&["score"]);
    let customer = home.json(&["customers", "--search", "anna@example.com"])[0].clone();

    // Whether she agrees is not known: nothing goes out.
    let test = ["destinations", "test", "brevo", "--email", " Anna@Example.com"];
    let (code, _, error) = beside(&home, &test).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("it is not known whether this customer agrees to e-mail marketing"), "{error}");
    assert!(tool.received().is_empty());

    home.database()
        .writer()
        .write(|tx| {
            tx.execute("UPDATE customers SET consent = 'subscribed'", [])?;
            Ok(())
        })
        .await
        .unwrap();
    let (code, trial, _) = beside(&home, &test).await;
    assert_eq!(code, Some(0), "{trial}");
    let attributes = tool.received()[0].json()["attributes"].clone();
    assert_eq!(attributes["RFM_SEGMENT"], customer["segment"]);
    assert_eq!(attributes["RFM_R"], customer["r"]);
    assert_eq!(attributes["ORDER_COUNT"], customer["orderCount"]);
}

#[tokio::test]
async fn a_test_names_where_each_request_went_and_why_it_did_not() {
    let tool = Receiver::start().await;
    let request = |url: &str| {
        format!(
            "[[destination.request]]\nmethod = \"POST\"\nurl = \"{url}\"\nbody = '{{\"id\": {{{{ event.id }}}}}}'\n"
        )
    };
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"two\"\nkind = \"template\"\nallow_http = true\nevents = [\"rfm/segment.changed\"]\n{}{}[[destination]]\nname = \"inside\"\nurl = \"https://10.0.0.1/x\"\nsecret = \"{SECRET}\"\n",
        request(tool.url()),
        request("http://127.0.0.1:9/other"),
    ));
    drop(home.database());
    let (code, trial, error) = beside(&home, &["destinations", "test", "two"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert_eq!(trial["requests"][1]["url"], "http://127.0.0.1:9/…");
    assert_ne!(trial["requests"][0]["url"], trial["requests"][1]["url"]);
    assert_eq!(trial["diagnosis"], "Your tool gave no answer: connection refused.");
    let (_, trial, _) = beside(&home, &["destinations", "test", "inside"]).await;
    let words = trial["diagnosis"].as_str().unwrap();
    assert!(words.starts_with("Your tool was not asked: 10.0.0.1 is not a public address; "), "{words}");
}

#[tokio::test]
async fn a_test_with_a_customer_whom_the_tool_does_not_know_says_so() {
    let tool = Receiver::start().await;
    tool.answers(404);
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"my-tool\"\nkind = \"mailchimp\"\nbase_url = \"{}\"\napi_key = \"S3CR3T-us6\"\nvars = {{ list = \"a1b2\" }}\n",
        tool.url()
    ));
    drop(home.database());
    let (code, trial, _) = beside(&home, &["destinations", "test", "my-tool", "--email", "eve@example.com"]).await;
    assert_eq!((code, &trial["ok"]), (Some(1), &json!(false)), "{trial}");
    assert_eq!(
        trial["diagnosis"],
        "your tool does not know eve@example.com: it is not in the audience, or `list` is wrong; try --email of \
         somebody who is"
    );
    assert_eq!(tool.received().len(), 1);
}

#[tokio::test]
async fn a_paused_destination_is_listed_as_such_and_resumes() {
    let tool = Receiver::start().await;
    let home = sending_to(tool.url());
    let listed = home.json(&["destinations"]);
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("my-tool"), &json!("active")));
    // Beside the process that has the database.
    let database = home.database();
    let paused = home.json(&["destinations", "pause", "my-tool"]);
    assert_eq!((&paused[0]["state"], &paused[0]["reason"]), (&json!("paused"), &json!("paused by hand")));
    drop(database);
    let said = home.ok(&["destinations", "resume", "my-tool", "--send", "latest"]);
    assert_eq!(said, "my-tool is sent to again.\n");
    assert_eq!(home.json(&["destinations", "list"])[0]["state"], "active");
    let wrong = home.fails(2, &["destinations", "resume", "my-tool"]);
    assert!(wrong.contains("--send"), "{wrong}");
}
