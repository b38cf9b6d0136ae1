package submit

import (
	"strings"
	"testing"
	"time"

	"barid/smtp"
)

// What tells of the client, or could pass for a server's word, does not leave
// with the message; nor does the Subject. The rest, folded or not, and the
// headers of parts are not touched.
func TestTheHeaderThatLeaves(t *testing.T) {
	for name, c := range map[string]struct{ sent, want string }{
		"removed": {
			"C: Received: from phone ([192.0.2.1])\nC: \tby relay.test\nC: User-Agent: x\nC: X-Mailer: y\nC: x-originating-ip: 192.0.2.1\n" +
				"C: Return-Path: <bob@relay.test>\nC: DKIM-Signature: v=1;\nC:  b=x\nC: Authentication-Results: relay.test; dkim=pass\nC: Chat-Version: 1.0\n",
			"Chat-Version: 1.0\r\n",
		},
		"kept": {
			"C: Chat-Disposition-Notification-To: <alice@relay.test>\nC: Autocrypt: addr=alice@relay.test;\nC:  keydata=abc\nC: Bcc: <carol@relay.test>\n",
			"Chat-Disposition-Notification-To: <alice@relay.test>\r\nAutocrypt: addr=alice@relay.test;\r\n keydata=abc\r\nBcc: <carol@relay.test>\r\n",
		},
		"the subject": {"C: SUBJECT: what I think\nC:  of you\n", "Subject: [...]\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.play(t, "alice@relay.test", toBob+data+c.sent+letter+"S~ 250 .*\n"+quit)
			want := strings.Replace(stored(letter), "From:", c.want+"From:", 1)
			if got := r.store.mail("bob@relay.test"); len(got) != 1 || got[0] != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A message without Date or Message-ID gets them from us; one with its own
// keeps them.
func TestDateAndMessageIDAreAdded(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := newRig(t, func(c *Config) { c.Now = func() time.Time { return now } })
	bare := strings.NewReplacer("C: Date: Sat, 21 Nov 2026 01:58:47 +0000\n", "", "C: Message-ID: <1@localhost>\n", "").Replace(letter)
	r.play(t, "alice@relay.test", toBob+data+bare+"S~ 250 .*\n"+quit)
	got := r.store.mail("bob@relay.test")[0]
	if !strings.Contains(got, "\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\n") || !strings.Contains(got, "@relay.test>\r\n\r\n--b\r\n") {
		t.Errorf("got %q", got)
	}
}

// The client's address is nowhere in what is delivered (the fake client's is
// 192.0.2.1).
func TestNoTraceOfTheClient(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", toBob+data+letter+"S~ 250 .*\n"+quit)
	if got := r.store.mail("bob@relay.test")[0]; strings.Contains(got, "192.0.2.1") || strings.Contains(got, "127.0.0.1") || strings.Contains(got, "Received") {
		t.Errorf("got %q", got)
	}
}

// What is not encrypted does not leave, with the words that clients look for;
// the author is judged before. The connection goes on.
func TestOnlyEncryptedMailPasses(t *testing.T) {
	const text = "C: From: <alice@relay.test>\nC: Subject: hello\nC: \nC: in the clear\nC: .\n"
	const join = "C: From: <alice@relay.test>\nC: Secure-Join: vc-request\nC: Content-Type: multipart/mixed; boundary=b\nC: \nC: --b\nC: Content-Type: text/plain\nC: \nC: Secure-Join: vc-request\nC: --b--\nC: .\n"
	fake := strings.Replace(letter, "0hQBAAAA", "yxJiAAAA", 1) // a literal packet
	r := newRig(t, nil)
	r.play(t, "alice@relay.test",
		toBob+data+text+"S: 523 Encryption Needed: Invalid Unencrypted Mail\n"+
			toBob+data+fake+"S: 523 Encryption Needed: Invalid Unencrypted Mail\n"+
			toBob+data+strings.Replace(text, "alice@", "bob@", 1)+"S~ 500 Invalid FROM .*\n"+
			toBob+data+join+"S: 250 2.0.0 OK\n"+
			toBob+data+letter+"S: 250 2.0.0 OK\n"+quit)
	if n := len(r.store.mail("bob@relay.test")); n != 2 {
		t.Errorf("%d arrived", n)
	}
	values, _ := r.cfg.Metrics.Values()
	if values["outgoing_encrypted_mail_count"] != 1 || values["outgoing_unencrypted_mail_count"] != 3 || values["rejected_unencrypted_mail_count"] != 2 {
		t.Errorf("counted %v", values)
	}
}

// A header beyond its bound is refused, once all is read; nothing is kept.
func TestAHugeHeaderIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "alice@relay.test", toBob+data+strings.Repeat("C: X-Pad: "+strings.Repeat("x", 900)+"\n", 400)+letter+
		"S~ 500 Failed to parse message: .*\n"+toBob+data+letter+"S~ 250 .*\n"+quit)
}

// A disabled account reads that it is one; its mail is not taken.
func TestADisabledAccountSendsNothing(t *testing.T) {
	r := newRig(t, nil)
	r.store.disabled = map[smtp.Address]bool{address("alice@relay.test"): true}
	r.play(t, "alice@relay.test", toBob+data+letter+"S: 550 5.7.1 This account is disabled\n"+quit)
	if n := len(r.store.mail("bob@relay.test")); n != 0 {
		t.Errorf("%d arrived", n)
	}
}

// A session whose account was deleted reads so; its mail is not taken.
func TestAGoneAccountSendsNothing(t *testing.T) {
	r := newRig(t, nil)
	r.store.gone = map[smtp.Address]bool{address("alice@relay.test"): true}
	r.play(t, "alice@relay.test", toBob+data+letter+"S: 550 5.7.1 This account is gone\n"+quit)
	if n := len(r.store.mail("bob@relay.test")); n != 0 {
		t.Errorf("%d arrived", n)
	}
}
