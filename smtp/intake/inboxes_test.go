package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"barid/internal/metrics"
	"barid/smtp"
	"barid/smtp/notify"
	"barid/smtp/outbox"
	"barid/storage"
)

// fakeStore answers each operation with the error for its first recipient,
// and keeps those that happened.
type fakeStore struct {
	storage.Store // what is not used panics
	errs          map[string]error
	queued        int
	commits       int
	err           error // of a whole commit
	done          []string
	last          string // content
}

func (f *fakeStore) QueueLen() (n, most int) { return f.queued, 10 }

func (f *fakeStore) Commit(_ context.Context, b storage.Batch) (result storage.Result, err error) {
	f.commits++
	if f.err != nil {
		return result, f.err
	}
	for _, op := range b.Ops {
		var what string
		var to []smtp.Address
		switch op := op.(type) {
		case storage.Deliver:
			what, to = "deliver", []smtp.Address{op.To}
			text, _ := io.ReadAll(io.NewSectionReader(op.Content, 0, op.Content.Size()))
			f.last = string(text)
		case storage.Enqueue:
			what, to = "queue "+op.From.Wire()+" for "+op.Dest, op.To
		}
		err := f.errs[to[0].Wire()]
		if err == nil {
			for _, a := range to {
				what += " " + a.Wire()
			}
			f.done = append(f.done, what)
		}
		result.Per = append(result.Per, storage.Outcome{Err: err})
	}
	return result, nil
}

// draft is content that was written.
type draft struct{ *strings.Reader }

func (draft) Write([]byte) (int, error) { panic("it is whole") }
func (draft) Discard()                  {}

// woken writes down who is.
type woken []string

func (w *woken) Notify(account, from smtp.Address) {
	*w = append(*w, account.Wire()+" by "+from.Wire())
}

func address(t testing.TB, s string) smtp.Address {
	t.Helper()
	a, err := smtp.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// inboxes makes Inboxes over a store, with an Outbox when mail may leave.
func inboxes(f *fakeStore, leaves bool) (in *Inboxes, w *woken, m *metrics.Registry) {
	w, m = new(woken), metrics.New()
	log := slog.New(slog.DiscardHandler)
	cfg := Config{Store: f, Domain: "relay.test", Wake: w, Logger: log, Metrics: m, Now: time.Now}
	if leaves {
		cfg.Outbox = outbox.New(outbox.Config{Store: f, Domain: "relay.test", Hostname: "relay.test", Logger: log, Metrics: m, Now: time.Now})
	}
	return NewInboxes(cfg), w, m
}

// One commit for all; who does not get it is told of, who does is woken, and a
// fault of ours is an error whatever else happened.
func TestTheFatesOfRecipients(t *testing.T) {
	fault := errors.New("broken")
	for name, c := range map[string]struct {
		to       string
		prepare  func(*fakeStore)
		stays    bool     // nothing leaves this relay
		done     []string // by the store
		woken    []string
		failures []string
		err      error
		counts   map[string]float64
	}{
		"here and elsewhere": {
			to:    "bob@relay.test x@one.test carol@relay.test y@two.test z@one.test",
			done:  []string{"deliver bob@relay.test", "deliver carol@relay.test", "queue <alice@relay.test> for one.test x@one.test z@one.test", "queue <alice@relay.test> for two.test y@two.test"},
			woken: []string{"bob@relay.test by alice@relay.test", "carol@relay.test by alice@relay.test"}, counts: map[string]float64{"delivered_mail": 2, "queued_recipients": 3},
		},
		"gone, full, and one who gets it": {
			to: "gone@relay.test full@relay.test bob@relay.test", done: []string{"deliver bob@relay.test"}, woken: []string{"bob@relay.test by alice@relay.test"},
			failures: []string{"gone@relay.test 550 5.1.1 <gone@relay.test> User doesn't exist: gone@relay.test", "full@relay.test 552 5.2.2 <full@relay.test> Quota exceeded (mailbox for user is full)"},
			counts:   map[string]float64{"delivered_mail": 1, "quota_exceeded": 1},
		},
		"a fault, and one who gets it": {
			to: "broken@relay.test bob@relay.test", done: []string{"deliver bob@relay.test"}, woken: []string{"bob@relay.test by alice@relay.test"}, err: fault,
		},
		"a fault of the queue": {to: "broken@one.test", err: fault},
		"one domain too many for the queue": {
			to: "late@one.test more@one.test x@two.test", done: []string{"queue <alice@relay.test> for two.test x@two.test"},
			failures: []string{"late@one.test 452 4.3.1 Too much mail is waiting to leave, try again later", "more@one.test 452 4.3.1 Too much mail is waiting to leave, try again later"},
			counts:   map[string]float64{"queued_recipients": 1},
		},
		"a full queue":                {to: "bob@relay.test x@one.test", prepare: func(f *fakeStore) { f.queued = 10 }, err: smtp.NewReply(452, "4.3.1", "Too much mail is waiting to leave, try again later")},
		"a full queue, and all here":  {to: "bob@relay.test", prepare: func(f *fakeStore) { f.queued = 10 }, done: []string{"deliver bob@relay.test"}, woken: []string{"bob@relay.test by alice@relay.test"}},
		"a full store":                {to: "bob@relay.test", prepare: func(f *fakeStore) { f.err = storage.ErrFull }, err: replyFull},
		"elsewhere, and nothing goes": {to: "x@one.test", stays: true, failures: []string{"x@one.test 550 5.4.4 <x@one.test>: this relay sends no mail to other servers"}},
	} {
		f := &fakeStore{errs: map[string]error{
			"gone@relay.test": storage.ErrNoAccount, "full@relay.test": storage.ErrQuota, "broken@relay.test": fault,
			"broken@one.test": fault, "late@one.test": storage.ErrQueueFull,
		}}
		if c.prepare != nil {
			c.prepare(f)
		}
		in, w, m := inboxes(f, !c.stays)
		var to []smtp.Address
		for a := range strings.FieldsSeq(c.to) {
			to = append(to, address(t, a))
		}
		failed, err := in.Deliver(t.Context(), draft{strings.NewReader(mail)}, address(t, "alice@relay.test"), to)
		if (c.err == nil) != (err == nil) || err != nil && !errors.Is(err, c.err) && err.Error() != c.err.Error() {
			t.Errorf("%s: %v", name, err)
		}
		var failures []string
		for _, x := range failed {
			failures = append(failures, x.Recipient.Wire()+" "+x.Reply.Wire())
		}
		if !slices.Equal(failures, c.failures) || !slices.Equal(f.done, c.done) || !slices.Equal(*w, c.woken) {
			t.Errorf("%s: done %q\nwoken %q\nfailures %q", name, f.done, *w, failures)
		}
		values, _ := m.Values()
		for metric, want := range c.counts {
			if values[metric] != want {
				t.Errorf("%s: %s is %v", name, metric, values[metric])
			}
		}
	}
}

// Nobody to deliver to is no reason to trouble the store.
func TestNothingToDoIsNoCommit(t *testing.T) {
	f := new(fakeStore)
	in, _, _ := inboxes(f, false)
	in.Deliver(t.Context(), draft{strings.NewReader(mail)}, address(t, "alice@relay.test"), []smtp.Address{address(t, "x@one.test")})
	if f.commits != 0 {
		t.Errorf("%d commits", f.commits)
	}
}

// A notification comes from the null reverse-path and wakes its reader. One
// that cannot be taken is lost and counted, unless the store itself failed.
func TestANotificationIsToldToNobodyElse(t *testing.T) {
	to, gone := address(t, "alice@relay.test"), address(t, "gone@relay.test")
	failures := []notify.Failure{{Recipient: address(t, "x@one.test"), Reply: smtp.NewReply(550, "5.1.1", "no")}}
	f := &fakeStore{errs: map[string]error{"gone@relay.test": storage.ErrNoAccount}}
	in, w, m := inboxes(f, false)
	err := in.Notify(t.Context(), to, failures, []byte("Message-ID: <1@x.test>\r\n"))
	if err != nil || !strings.HasPrefix(f.last, "Return-Path: <>\r\nFrom: ") || !strings.Contains(f.last, "<1@x.test>") || fmt.Sprint(*w) != "[alice@relay.test by ]" {
		t.Errorf("%v, woken %q: %s", err, *w, f.last)
	}
	if err := in.Notify(t.Context(), gone, failures, nil); err != nil || len(*w) != 1 {
		t.Errorf("%v, woken %q", err, *w)
	}
	f.err = storage.ErrFull
	if err := in.Notify(t.Context(), to, failures, nil); err != replyFull {
		t.Errorf("the store is full: %v", err)
	}
	if values, _ := m.Values(); values["notifications"] != 1 || values["notifications_lost"] != 1 {
		t.Errorf("%v", values)
	}
}

// The fields that are added are of now and of our domain, and no two alike.
func TestMissingFieldsAreOurs(t *testing.T) {
	in, _, _ := inboxes(new(fakeStore), false)
	in.cfg.Domain = "[192.0.2.1]"
	in.cfg.Now = func() time.Time { return time.Date(2026, 11, 5, 1, 2, 3, 0, time.FixedZone("", 3600)) }
	one, two := in.Missing(), in.Missing()
	if one[0].Name != "Date" || one[0].Value != "Thu, 05 Nov 2026 00:02:03 +0000" {
		t.Errorf("%+v", one[0])
	}
	if one[1].Name != "Message-ID" || !strings.HasSuffix(one[1].Value, "@192.0.2.1>") || one[1].Value == two[1].Value {
		t.Errorf("%+v, then %+v", one[1], two[1])
	}
}
