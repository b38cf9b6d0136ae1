package notify

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"barid/smtp"
)

func address(t *testing.T, s string) smtp.Address {
	t.Helper()
	a, err := smtp.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func report(t *testing.T) Report {
	return Report{
		Domain: "relay.test", To: address(t, "alice@relay.test"), Now: time.Unix(1795354013, 0),
		Header: []byte("Message-ID: <one@localhost>\r\nSubject: [...]\r\n"),
		Failures: []Failure{
			{address(t, "gone@relay.test"), smtp.NewReply(550, "5.1.1", "User doesn't exist")},
			{address(t, "full@relay.test"), smtp.NewReply(552, "", "Quota exceeded")},
		},
	}
}

// A client of old finds three parts, and in them who failed and which
// message it was.
func TestContentIsAReport(t *testing.T) {
	msg, err := mail.ReadMessage(bytes.NewReader(report(t).Content()))
	if err != nil {
		t.Fatal(err)
	}
	if from := msg.Header.Get("From"); !strings.Contains(from, "MAILER-DAEMON@relay.test") || msg.Header.Get("Auto-Submitted") == "" {
		t.Errorf("header %v", msg.Header)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("%s %v %v", kind, params, err)
	}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for _, want := range []struct{ kind, text string }{
		{"text/plain", "<gone@relay.test>: 550 5.1.1 User doesn't exist\r\n<full@relay.test>: 552 Quota exceeded"},
		{"message/delivery-status", "Final-Recipient: rfc822; full@relay.test\r\nAction: failed\r\nStatus: 5.0.0\r\n"},
		{"text/rfc822-headers", "Message-ID: <one@localhost>\r\n"},
	} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(p)
		if !strings.HasPrefix(p.Header.Get("Content-Type"), want.kind) || !strings.Contains(string(text), want.text) {
			t.Errorf("%s lacks %q:\n%s", want.kind, want.text, text)
		}
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("a fourth part: %v", err)
	}
}

// A delay is told as one: no client takes it for a failure.
func TestADelayIsNoFailure(t *testing.T) {
	r := report(t)
	r.Failures = []Failure{{address(t, "slow@peer.test"), smtp.NewReply(421, "4.4.1", "nobody answers")}}
	r.Delayed, r.Until = true, r.Now.Add(44*time.Hour)
	text := string(r.Content())
	for _, want := range []string{"Subject: Delayed Mail", "Action: delayed\r\n", "Will-Retry-Until: ", "Status: 4.4.1\r\n", "You need not do anything"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "failed") || strings.Contains(text, "not delivered") {
		t.Errorf("it speaks of failure:\n%s", text)
	}
	r.Delayed = false
	if text := string(r.Content()); !strings.Contains(text, "Action: failed\r\nStatus: 5.4.1\r\n") {
		t.Errorf("given up, its status is no failure:\n%s", text)
	}
}

// The header that goes back is bounded, and ends with a whole line.
func TestContentIsBounded(t *testing.T) {
	r := report(t)
	r.Header = bytes.Repeat([]byte("X-Long: "+strings.Repeat("y", 90)+"\r\n"), 5000)
	content := r.Content()
	if len(content) > MaxHeader+2000 {
		t.Errorf("%d octets", len(content))
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasSuffix(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
}
