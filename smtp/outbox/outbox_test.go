package outbox

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"barid/dkim"
	"barid/internal/metrics"
	"barid/internal/resolver"
	"barid/smtp"
	"barid/smtp/queue"
	"barid/storage"
)

// shelf takes what is committed.
type shelf struct {
	ops  []storage.Op
	full bool
}

func (s *shelf) Commit(_ context.Context, b storage.Batch) (storage.Result, error) {
	s.ops = append(s.ops, b.Ops...)
	return storage.Result{Per: make([]storage.Outcome, len(b.Ops))}, nil
}

func (s *shelf) QueueLen() (int, int) {
	if s.full {
		return 10, 10
	}
	return 3, 10
}

func address(text string) smtp.Address {
	a, err := smtp.ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return a
}

// keys publishes what a signer signs with.
type keys map[string]string

func (k keys) TXT(_ context.Context, name string) (a resolver.Answer[string], err error) {
	if k[name] == "" {
		return a, resolver.ErrNoName
	}
	a.Records = []string{k[name]}
	return a, nil
}

func (k keys) FreshTXT(ctx context.Context, name string, _ time.Duration) (resolver.Answer[string], error) {
	return k.TXT(ctx, name)
}

func newOutbox(t *testing.T) (*Outbox, *shelf, keys) {
	t.Helper()
	private, err := dkim.OpenKeys(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	published := keys{}
	for _, k := range private {
		r := k.Record()
		published[r.Name+".relay.test"] = r.Text
	}
	m := metrics.New()
	signer, err := dkim.NewSigner(dkim.SignerConfig{Domain: "relay.test", Keys: private, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	s := &shelf{}
	return New(Config{Store: s, Domain: "relay.test", Hostname: "relay.test", Signer: signer, Logger: slog.New(slog.DiscardHandler), Metrics: m, Now: time.Now}), s, published
}

const letter = "Return-Path: <alice@relay.test>\r\nFrom: <alice@relay.test>\r\nTo: <bob@peer.test>\r\nSubject: [...]\r\nDate: Wed, 25 Nov 2026 12:00:00 +0000\r\n\r\nhello\r\n"

func TestWhatLeavesIsSignedAndTellsNothingOfTheClient(t *testing.T) {
	o, _, published := newOutbox(t)
	content := strings.NewReader(letter)
	to := []smtp.Address{address("bob@peer.test"), address("carol@other.test"), address("dave@peer.test")}
	ops, err := o.Ops(smtp.Path{Address: address("alice@relay.test")}, address("alice@relay.test"), to, content)
	if err != nil {
		t.Fatal(err)
	}
	if len(ops) != 2 || ops[0].Dest != "peer.test" || len(ops[0].To) != 2 || ops[1].Dest != "other.test" || ops[0].Content != ops[1].Content {
		t.Fatalf("%+v", ops)
	}
	whole := string(ops[0].Prefix) + letter[strings.Index(letter, "From"):]
	check := dkim.NewVerifier(dkim.VerifierConfig{Keys: published}).Check()
	io.WriteString(check, whole)
	if err := check.Verdict(t.Context(), "relay.test", strings.NewReader(whole)); err != nil {
		t.Errorf("%v\n%s", err, whole)
	}
	if n := strings.Count(whole, "DKIM-Signature:"); n != 2 {
		t.Errorf("%d signatures", n)
	}
	if !strings.HasPrefix(whole, "Received: by relay.test with ESMTPSA id ") || strings.Contains(whole, "from ") {
		t.Errorf("the trace: %s", whole)
	}
	leaving := Leaving(content)
	b := make([]byte, leaving.Size())
	if _, err := leaving.ReadAt(b, 0); err != nil && err != io.EOF || !bytes.HasPrefix(b, []byte("From:")) {
		t.Errorf("%q, %v", b, err)
	}
}

// It will not be better the next time, so it is no fault of ours.
func TestWhatCannotBeSignedIsRefusedForGood(t *testing.T) {
	o, _, _ := newOutbox(t)
	for content, want := range map[string]*smtp.Reply{
		letter + strings.Repeat("\r\n", 9000) + "x\r\n":         replyEmptyLines,
		strings.Repeat("To: <bob@peer.test>\r\n", 40) + letter:  replyHeader,
		"To: <bob@peer.test>\nCc: <bob@peer.test>\r\n" + letter: replyHeader,
	} {
		_, err := o.Ops(smtp.Path{}, smtp.Address{}, []smtp.Address{address("bob@peer.test")}, strings.NewReader(content))
		if r := smtp.AsReply(err); r != want {
			t.Errorf("%v, not %v", r, want)
		}
	}
}

func TestSendersAreToldWhereTheyAre(t *testing.T) {
	o, s, _ := newOutbox(t)
	n := queue.Notice{Content: strings.NewReader(letter), Failures: []queue.Failure{{Recipient: address("bob@peer.test"), Reply: smtp.NewReply(550, "5.1.1", "nobody")}}}
	if ops := o.Tell(t.Context(), n); ops != nil {
		t.Errorf("the null reverse-path is told %v", ops)
	}
	n.Item.From = smtp.Path{Address: address("alice@relay.test")}
	ops := o.Tell(t.Context(), n)
	d, ok := ops[0].(storage.Deliver)
	if !ok || d.To != address("alice@relay.test") {
		t.Fatalf("%+v", ops)
	}
	text := read(t, d.Content)
	for _, want := range []string{"Return-Path: <>\r\n", "Action: failed", "<bob@peer.test>: 550 5.1.1 nobody", "Date: Wed, 25 Nov 2026 12:00:00 +0000\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "hello") {
		t.Error("the body is given back")
	}
	n.Item.From = smtp.Path{Address: address("eve@elsewhere.test")}
	e, ok := o.Tell(t.Context(), n)[0].(storage.Enqueue)
	if !ok || !e.From.IsNull() || e.Dest != "elsewhere.test" || !bytes.Contains(e.Prefix, []byte("DKIM-Signature:")) {
		t.Errorf("%+v", e)
	}
	if err := o.Send(t.Context(), address("eve@elsewhere.test"), []byte("From: <x@relay.test>\r\n\r\nhello\r\n")); err != nil || len(s.ops) != 1 {
		t.Errorf("%v, %d", err, len(s.ops))
	}
}

func TestAFullQueueSaysSo(t *testing.T) {
	o, s, _ := newOutbox(t)
	if o.Full() != nil {
		t.Error("full")
	}
	s.full = true
	if r := o.Full(); r == nil || r.Wire() != "452 4.3.1 Too much mail is waiting to leave, try again later" {
		t.Errorf("%v", r)
	}
}

func read(t *testing.T, c storage.Content) string {
	t.Helper()
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return string(b)
}
