package receive

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"barid/smtp"
	"barid/storage"
)

// A signed message reaches the mailbox without the traces of its way, and
// with the fields that each must have.
func TestASignedMessageIsDelivered(t *testing.T) {
	r := newRig(t, nil)
	m := strings.Replace(encrypted(writer), "Date: Sat, 21 Nov 2026 01:58:47 +0000\r\nMessage-ID: <1@localhost>\r\n", "", 1)
	m = "Received: from x\r\n\tby y\r\nauthentication-results: x; dkim=pass\r\nReturn-Path: <x@y.test>\r\n" + r.sign(t, m)
	r.send(t, writer, []string{"bob@relay.test", "Bob+tag@relay.test", "ALICE@relay.test"}, m, replyOK)
	for _, name := range []string{"alice", "bob"} {
		got := r.mail(t, name)
		if len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <"+writer+">\r\nFrom: <writer@") {
			t.Fatalf("%s has %q", name, got)
		}
		head, body, _ := strings.Cut(got[0], "\r\n\r\n")
		for _, gone := range []string{"DKIM", "dkim", "Received", "<x@y.test>"} {
			if strings.Contains(head, gone) {
				t.Errorf("%q is left in %s", gone, head)
			}
		}
		if !strings.Contains(head, "\r\nDate: ") || !strings.Contains(head, "\r\nMessage-ID: <") || !strings.HasSuffix(m, body) {
			t.Errorf("%s has %q", name, got)
		}
	}
	values, err := r.cfg.Metrics.Values()
	if err != nil || values["delivered_mail"] != 2 || values["incoming_encrypted_mail_count"] != 1 || values["received_mail"] != 1 {
		t.Errorf("%v, %v", values, err)
	}
}

// Each refusal has its reply, over SMTP and HTTPS alike, and leaves nothing.
func TestEachRefusal(t *testing.T) {
	r := newRig(t, nil)
	good := encrypted(writer)
	signed := r.sign(t, good)
	unsignedReply, invalidReply := "554 5.7.1 No DKIM signature found", "554 5.7.1 No valid DKIM signature found"
	for _, c := range []struct{ name, to, mail, want string }{
		{"unsigned", "bob", good, unsignedReply},
		{"unsigned, for nobody", "nobody", good, unsignedReply},
		{"changed", "bob", strings.Replace(signed, "0hQB", "0hQC", 1), invalidReply},
		{"signed by another domain", "bob", r.sign(t, encrypted("writer@other.test")), invalidReply},
		{"signed by the domain above", "bob", r.sign(t, encrypted("writer@sub.author.test")), invalidReply},
		{"our own domain, forged", "bob", encrypted("alice@relay.test"), unsignedReply},
		{"trouble with the DNS", "bob", signWith(t, r.newSigner(t, "trouble.test"), encrypted("writer@trouble.test")), "451 4.7.5 DKIM key not available for now, try again later"},
		{"in the clear", "bob", r.sign(t, plainMail), "523 Encryption Needed: Invalid Unencrypted Mail"},
		{"in the clear, unsigned", "bob", plainMail, "523 Encryption Needed: Invalid Unencrypted Mail"},
		{"in the clear, for nobody", "nobody", plainMail, "523 Encryption Needed: Invalid Unencrypted Mail"},
		{"in the clear, for who takes it, unsigned", "carol", plainMail, unsignedReply},
		{"for nobody", "nobody", signed, "550 5.1.1 <nobody@relay.test> User doesn't exist: nobody@relay.test"},
		{"no author", "bob", strings.Replace(signed, "From: <", "X: <", 1), "500 Invalid FROM header: not exactly one From field with one address: 0 fields"},
		{"two authors", "bob", "From: <x@author.test>\r\n" + signed, "500 Invalid FROM header: not exactly one From field with one address: 2 fields"},
		{"a group of authors", "bob", strings.Replace(signed, "From: <writer@author.test>", "From: g: <writer@author.test>;", 1), "500 Invalid FROM header: not exactly one From field with one address: no single address"},
		{"a broken header", "bob", "no field\r\n" + signed, "500 Failed to parse message: malformed header: a line without a field name"},
		{"no header", "bob", "\r\n" + signed, "500 Invalid FROM header: not exactly one From field with one address: 0 fields"},
		{"a header alone", "bob", "From: <writer@author.test>\r\nContent-Type: multipart/encrypted; boundary=b\r\n", "523 Encryption Needed: Invalid Unencrypted Mail"},
		{"a huge header", "bob", strings.Repeat("X-Y: z\r\n", 14_000) + good, "552 5.3.4 Message size exceeds fixed limit"},
		{"a large header", "bob", "DKIM-Signature: v=1\r\nX: " + strings.Repeat("y", 1000) + "\r\n" + strings.Repeat("Y: "+strings.Repeat("y", 1900)+"\r\n", 40) + signed, "554 5.6.0 Header is too big to verify a DKIM signature"},
		{"too many fields", "bob", strings.Repeat("X: y\r\n", 300) + signed, "554 5.6.0 Header is too big to verify a DKIM signature"},
		{"far too many fields", "bob", strings.Repeat("X: y\r\n", 1001) + signed, "500 Failed to parse message: header is too big: over 1000 fields"},
		{"in circles", "bob", strings.Repeat("Received: by x\r\n", 51) + signed, "554 5.4.6 Too many hops"},
		{"a line too long", "bob", signed + strings.Repeat("x", 2001) + "\r\n", "554 5.6.0 Message contains a line that is too long"},
	} {
		to := []string{c.to + "@relay.test"}
		r.send(t, writer, to, c.mail, c.want)
		status, text := r.post(t, writer, to, stuffed(c.mail))
		want, wantStatus := c.want, 400
		switch {
		case strings.HasPrefix(want, "552 5.3.4"):
			want, wantStatus = "552 Message exceeds maximum size", 413
		case strings.HasPrefix(want, "554 5.6.0 Message"):
			want = "500 Invalid DATA"
		}
		if status != wantStatus || text != want {
			t.Errorf("%s: over HTTPS %d %q", c.name, status, text)
		}
		r.nothing(t, c.name)
	}
	r.send(t, writer, []string{"bob@relay.test"}, strings.Repeat("Received: by x\r\n", 50)+signed, replyOK)
}

// stuffed doubles the dots at the beginnings of lines.
func stuffed(mail string) string {
	mail = strings.ReplaceAll(mail, "\r\n.", "\r\n..")
	if strings.HasPrefix(mail, ".") {
		mail = "." + mail
	}
	return mail
}

// Who can get a message gets it. The author hears of the others, when it is
// proven that the reverse-path is the author's.
func TestSomeCanGetIt(t *testing.T) {
	signed := func(r *rig) string { return r.sign(t, encrypted(writer)) }
	for name, c := range map[string]struct {
		from string
		mail func(*rig) string
		told bool
	}{
		"the author":             {writer, signed, true},
		"the author in capitals": {"WRITER@Author.test", signed, true},
		"nobody":                 {"", signed, false},
		"a forwarder":            {"list@forwarder.test", signed, false},
		"an address of ours":     {"alice@relay.test", signed, false},
		"a literal, proven":      {"writer@[192.0.2.1]", func(*rig) string { return encrypted("writer@[192.0.2.1]") }, true},
	} {
		r := newRig(t, nil)
		r.send(t, c.from, []string{"gone@relay.test", "bob@relay.test", "also-gone@relay.test"}, c.mail(r), replyOK)
		if got := r.mail(t, "bob"); len(got) != 1 {
			t.Fatalf("%s: bob has %q", name, got)
		}
		if told := len(r.outbox.sent) == 1; told != c.told {
			t.Fatalf("%s: sent %q", name, r.outbox.sent)
		}
		if got := r.mail(t, "alice"); len(got) != 0 {
			t.Errorf("%s: alice has %q", name, got)
		}
		if !c.told {
			if got := r.mail(t, "bob")[0]; c.from != writer && !strings.HasPrefix(got, "Return-Path: <>\r\n") {
				t.Errorf("%s: %q", name, got)
			}
			continue
		}
		for _, want := range []string{"From: Mail Delivery System <MAILER-DAEMON@relay.test>", "<gone@relay.test>: 550 5.1.1 ", "Final-Recipient: rfc822; also-gone@relay.test", "Message-ID: <1@localhost>"} {
			if !strings.Contains(r.outbox.sent[0], want) {
				t.Errorf("%s: no %q in %s", name, want, r.outbox.sent[0])
			}
		}
		if !strings.EqualFold(strings.Split(r.outbox.sent[0], " ")[0], c.from) {
			t.Errorf("%s: sent to %q", name, r.outbox.sent[0])
		}
	}
}

// Who is frozen or full is like who is missing: alone the message is refused,
// beside others the author hears of it.
func TestFrozenAndFullAccountsDoNotGetIt(t *testing.T) {
	r := newRig(t, nil)
	const bob, alice = "bob@relay.test", "alice@relay.test"
	frozen, full := "550 5.1.1 <"+bob+"> User doesn't exist: "+bob, "552 5.2.2 <"+alice+"> Quota exceeded (mailbox for user is full)"
	if err := r.store.Freeze(t.Context(), storage.Account{Address: address(bob)}, true); err != nil {
		t.Fatal(err)
	}
	m := r.sign(t, encrypted(writer))
	_, err := r.store.Commit(t.Context(), storage.Batch{Ops: []storage.Op{
		storage.Deliver{To: address(alice), Content: strings.NewReader(strings.Repeat("x", 1<<20-100))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.send(t, writer, []string{bob}, m, frozen)
	r.send(t, writer, []string{alice}, m, full)
	r.send(t, writer, []string{alice, bob}, m, full)
	if len(r.outbox.sent) != 0 {
		t.Fatalf("sent %q", r.outbox.sent)
	}
	r.send(t, writer, []string{bob, alice, "carol@relay.test"}, m, replyOK)
	if len(r.outbox.sent) != 1 || !strings.Contains(r.outbox.sent[0], "<"+bob+">: "+frozen) || !strings.Contains(r.outbox.sent[0], "<"+alice+">: "+full) {
		t.Errorf("sent %q", r.outbox.sent)
	}
	if carol, alice := r.mail(t, "carol"), r.mail(t, "alice"); len(carol) != 1 || len(alice) != 1 {
		t.Errorf("carol has %d, alice %d", len(carol), len(alice))
	}
}

// A literal that may come from anywhere proves nothing, so nobody is told.
func TestAnUnprovenAuthorIsToldNothing(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Literals = AnyLiterals })
	r.send(t, "writer@[192.0.2.9]", []string{"gone@relay.test", "bob@relay.test"}, encrypted("writer@[192.0.2.9]"), replyOK)
	if len(r.mail(t, "bob")) != 1 || len(r.outbox.sent) != 0 {
		t.Errorf("%q", r.outbox.sent)
	}
}

// Mail of our own domain that comes back from outside, signed by us: the
// notification goes to the mailbox.
func TestAnAuthorOfOursIsToldAtHome(t *testing.T) {
	r := newRig(t, nil)
	m := signWith(t, r.newSigner(t, "relay.test"), encrypted("alice@relay.test"))
	r.send(t, "alice@relay.test", []string{"gone@relay.test", "bob@relay.test"}, m, replyOK)
	if got := r.mail(t, "alice"); len(got) != 1 || !strings.Contains(got[0], "gone@relay.test") || len(r.outbox.sent) != 0 {
		t.Errorf("alice has %q, sent %q", got, r.outbox.sent)
	}
}

func TestMailInTheClearGoesToWhoTakesIt(t *testing.T) {
	r := newRig(t, nil)
	r.send(t, writer, []string{"bob@relay.test", "carol+tag@relay.test"}, r.sign(t, plainMail), replyOK)
	if got := r.mail(t, "carol"); len(got) != 1 || !strings.HasSuffix(got[0], "\r\n\r\nHello.\r\n.dot\r\n") {
		t.Errorf("carol has %q", got)
	}
	if got := r.mail(t, "bob"); len(got) != 0 {
		t.Errorf("bob has %q", got)
	}
	if len(r.outbox.sent) != 1 || !strings.Contains(r.outbox.sent[0], "<bob@relay.test>: 523 Encryption Needed") {
		t.Errorf("sent %q", r.outbox.sent)
	}
	// Tags and capitals hide nobody from the rule.
	for _, to := range []string{"bob+tag@relay.test", "BOB@relay.test", "BOB+x@RELAY.test"} {
		r.send(t, writer, []string{to}, r.sign(t, plainMail), "523 Encryption Needed: Invalid Unencrypted Mail")
		if status, text := r.post(t, writer, []string{to}, stuffed(r.sign(t, plainMail))); status != 400 || !strings.HasPrefix(text, "523 ") {
			t.Errorf("%s: %d %q", to, status, text)
		}
	}
}

// The notices of others reach the user, the first message of a securejoin too.
func TestWhatMayBeInTheClear(t *testing.T) {
	r := newRig(t, nil)
	report := "From: Mail Delivery System <MAILER-DAEMON@author.test>\r\nAuto-Submitted: auto-replied\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\ngone@author.test\r\n--b--\r\n"
	r.send(t, "", []string{"bob@relay.test"}, r.sign(t, report), replyOK)
	r.send(t, "", []string{"bob@relay.test"}, report, "554 5.7.1 No DKIM signature found")
	join := "From: <" + writer + ">\r\nSecure-Join: vc-request\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsecure-join: vc-request\r\n--b--\r\n"
	r.send(t, writer, []string{"bob@relay.test"}, r.sign(t, join), replyOK)
	if got := r.mail(t, "bob"); len(got) != 2 || !strings.Contains(got[0], "gone@author.test") {
		t.Errorf("bob has %q", got)
	}
	values, _ := r.cfg.Metrics.Values()
	if values["incoming_mailer_daemon_mail_count"] != 2 || values["incoming_encrypted_mail_count"] != 1 {
		t.Errorf("%v", values)
	}
}

// Authors at addresses and at domains that begin with "_" are kinds of their
// own, which can be switched off.
func TestKindsOfAuthors(t *testing.T) {
	const elsewhere = "550 5.7.1 An author at an address literal must send from that address"
	const off = "550 5.7.1 Authors at address literals are not taken here"
	r := newRig(t, nil)
	type want struct{ checked, any, none string }
	for author, want := range map[string]want{
		"w@[192.0.2.1]":             {replyOK, replyOK, off},
		"w@[192.0.2.2]":             {elsewhere, replyOK, off},
		"w@[IPv6:2001:db8::1]":      {elsewhere, replyOK, off},
		"w@[IPv6:::ffff:192.0.2.1]": {replyOK, replyOK, off},
	} {
		for literals, reply := range map[Literals]string{CheckedLiterals: want.checked, AnyLiterals: want.any, NoLiterals: want.none} {
			r.Server.cfg.Literals = literals
			r.send(t, author, []string{"bob@relay.test"}, encrypted(author), reply)
		}
	}
	for _, domain := range []string{"_relay.example.test", "sub._relay.test"} {
		for no, reply := range map[bool]string{false: replyOK, true: "550 5.7.1 Authors at domains without a public certificate are not taken here"} {
			r.Server.cfg.NoUnderscores = no
			r.send(t, "w@"+domain, []string{"bob@relay.test"}, signWith(t, r.newSigner(t, domain), encrypted("w@"+domain)), reply)
			if !no {
				r.send(t, "w@"+domain, []string{"bob@relay.test"}, encrypted("w@"+domain), "554 5.7.1 No DKIM signature found")
			}
		}
	}
}

// postmaster@ and abuse@ reach the contact, or whoever writes there is told
// where to.
func TestRoles(t *testing.T) {
	for contact, want := range map[string]string{
		"":                  "550 5.1.1 <abuse@relay.test> User doesn't exist: abuse@relay.test",
		"bob@relay.test":    replyOK,
		"admin@office.test": "551 5.1.6 <abuse@relay.test>: not here, please write to <admin@office.test>",
	} {
		r := newRig(t, func(c *Config) {
			if contact != "" {
				c.Contact = address(contact)
			}
		})
		r.send(t, writer, []string{"Abuse+x@relay.test"}, r.sign(t, encrypted(writer)), want)
		if got := len(r.mail(t, "bob")); (got == 1) != (want == replyOK) {
			t.Errorf("%s: bob has %d", contact, got)
		}
		if want == replyOK { // once, even when it is named twice
			r.send(t, writer, []string{"postmaster@relay.test", "abuse@relay.test", "bob@relay.test"}, r.sign(t, encrypted(writer)), want)
			r.send(t, writer, []string{"PostMaster"}, r.sign(t, encrypted(writer)), want) // RFC 5321 section 4.5.1
			if got := len(r.mail(t, "bob")); got != 3 {
				t.Errorf("bob has %d", got)
			}
		}
	}
}

// Octets that could make two messages of one are refused in the same words on
// both ways in.
func TestOctetsThatSmuggleAreRefusedAlike(t *testing.T) {
	r := newRig(t, nil)
	for name, octets := range map[string]string{"LF": "a\nb", "CR": "a\rb", "NUL": "a\x00b", "an end of data": "a\n.\r\nMAIL FROM:<x@evil.test>"} {
		mail := r.sign(t, encrypted(writer)) + octets + "\r\n"
		r.play(t, hello+"C: MAIL FROM:<"+writer+">\nS~ 250 .*\nC: RCPT TO:<bob@relay.test>\nS~ 250 .*\nC: DATA\nS~ 354 .*\n"+
			"C\\ "+strings.Trim(strconv.Quote(mail), `"`)+"\nC: .\nS: 500 Invalid DATA\nC: QUIT\nS~ 221 .*\nS--\n")
		if status, text := r.post(t, writer, []string{"bob@relay.test"}, mail); status != 400 || text != "500 Invalid DATA" {
			t.Errorf("%s: %d %q", name, status, text)
		}
		r.nothing(t, name)
	}
}

// The dialogue: nothing without TLS, no accounts told, no mail for others.
func TestTheDialogue(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, hello+
		"C: AUTH PLAIN AGFsaWNlAHBhc3N3b3Jk\nS~ 503 5\\.5\\.1 Error: authentication not enabled\n"+
		"C: VRFY alice@relay.test\nS: 252 2.0.0 Cannot VRFY user, but will accept message\n"+
		"C: VRFY nobody@relay.test\nS: 252 2.0.0 Cannot VRFY user, but will accept message\n"+
		"C: VRFY alice\nS: 252 2.0.0 Cannot VRFY user, but will accept message\n"+
		"C: VRFY nobody\nS: 252 2.0.0 Cannot VRFY user, but will accept message\n"+
		"C: EXPN alice\nS~ 502 .*\n"+
		"C: MAIL FROM:<"+writer+">\nS~ 250 .*\n"+
		"C: RCPT TO:<x@elsewhere.test>\nS: 554 5.7.1 <x@elsewhere.test>: Relay access denied\n"+
		"C: RCPT TO:<x@sub.relay.test>\nS: 554 5.7.1 <x@sub.relay.test>: Relay access denied\n"+
		"C: DATA\nS~ 5.*\n"+
		"C: RCPT TO:<alice@relay.test>\nS~ 250 .*\nC: RCPT TO:<nobody@relay.test>\nS~ 250 .*\n"+
		"C: QUIT\nS~ 221 .*\nS--\n")
}

func TestAPeerHasARate(t *testing.T) {
	r := newRig(t, func(c *Config) { c.RatePerMinute, c.RateBurst = 1, 2 })
	to := []string{"bob@relay.test"}
	m := r.sign(t, encrypted(writer))
	r.send(t, writer, to, m, replyOK)
	if status, text := r.post(t, writer, to, m); status != 200 || text != "250 OK" {
		t.Errorf("%d %q", status, text)
	}
	r.play(t, hello+"C: MAIL FROM:<"+writer+">\nS~ 450 4\\.7\\.1 Too much mail from your host, try again in .*\nC: QUIT\nS~ 221 .*\n")
	if status, text := r.post(t, writer, to, m); status != 400 || !strings.HasPrefix(text, "450 4.7.1 ") {
		t.Errorf("%d %q", status, text)
	}
	if got := len(r.mail(t, "bob")); got != 2 {
		t.Errorf("bob has %d", got)
	}
}

// What the store cannot do now is temporary, and says nothing of it.
func TestAFaultOfOursIsTemporary(t *testing.T) {
	for err, want := range map[error]string{
		errors.New("broken for alice@relay.test"):  "451 4.3.0 Local error, try again later",
		fmt.Errorf("no room: %w", storage.ErrFull): "452 4.3.1 Insufficient system storage",
	} {
		r := newRig(t, nil)
		r.store.broken = err
		r.send(t, writer, []string{"bob@relay.test"}, r.sign(t, encrypted(writer)), want)
		if status, text := r.post(t, writer, []string{"bob@relay.test"}, r.sign(t, encrypted(writer))); status != 400 || text != want {
			t.Errorf("%d %q", status, text)
		}
		r.log.Reset() // it has the cause, which names who it likes
	}
	r := newRig(t, nil)
	r.store.unread = errors.New("broken for alice@relay.test")
	r.send(t, writer, []string{"bob@relay.test"}, r.sign(t, encrypted(writer)), "451 4.3.0 Local error, try again later")
	r.log.Reset()
	r = newRig(t, nil)
	r.outbox.err = errors.New("queue is full")
	r.send(t, writer, []string{"gone@relay.test", "bob@relay.test"}, r.sign(t, encrypted(writer)), "451 4.3.0 Local error, try again later")
	r = newRig(t, func(c *Config) { c.Outbox = nil })
	r.send(t, writer, []string{"gone@relay.test", "bob@relay.test"}, r.sign(t, encrypted(writer)), replyOK)
}

// woken notes who is woken.
type woken struct{ all []string }

func (w *woken) Notify(account, from smtp.Address) {
	w.all = append(w.all, account.Wire()+" "+from.Wire())
}

func TestWhoGotAMessageIsWoken(t *testing.T) {
	var w woken
	r := newRig(t, func(c *Config) { c.Wake = &w })
	r.send(t, writer, []string{"gone@relay.test", "bob@relay.test"}, r.sign(t, encrypted(writer)), replyOK)
	r.send(t, writer, []string{"alice@relay.test"}, encrypted(writer), "554 5.7.1 No DKIM signature found")
	if !slices.Equal(w.all, []string{"bob@relay.test " + writer}) {
		t.Errorf("woken: %q", w.all)
	}
}
