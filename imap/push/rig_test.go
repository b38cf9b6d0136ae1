package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"barid/internal/journal"
	"barid/internal/journal/faultfs"
	"barid/internal/metrics"
	"barid/smtp"
	"barid/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeStore has tokens and nothing else.
type fakeStore struct {
	mu     sync.Mutex // guards the fields below
	tokens map[smtp.Address][]storage.Entry
	reads  int
	fail   error
	hold   chan struct{} // when not nil, reads wait until it is closed
}

func (f *fakeStore) Entries(ctx context.Context, a storage.Account, _ string) ([]storage.Entry, error) {
	f.mu.Lock()
	hold := f.hold
	f.reads++
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, ok := f.tokens[a.Address]
	if !ok && f.fail == nil {
		return nil, fmt.Errorf("list entries: %w", storage.ErrNoAccount)
	}
	return slices.Clone(list), errors.Join(f.fail, ctx.Err())
}

func (f *fakeStore) Commit(_ context.Context, b storage.Batch) (storage.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	op := b.Ops[0].(storage.RemoveToken)
	f.tokens[op.Account.Address] = slices.DeleteFunc(f.tokens[op.Account.Address], func(e storage.Entry) bool {
		return string(e.Value) == op.Token && !e.Set.Truncate(time.Second).After(op.SetBy)
	})
	return storage.Result{Per: []storage.Outcome{{}}}, nil
}

// set gives an account tokens.
func (f *fakeStore) set(a string, at time.Time, tokens ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tokens {
		list := f.tokens[address(a)]
		if i := slices.IndexFunc(list, func(e storage.Entry) bool { return string(e.Value) == t }); i >= 0 {
			list[i].Set = at
			continue
		}
		f.tokens[address(a)] = append(list, storage.Entry{Name: tokenEntry, Value: []byte(t), Set: at})
	}
}

func (f *fakeStore) list(a string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []string
	for _, e := range f.tokens[address(a)] {
		all = append(all, string(e.Value))
	}
	return strings.Join(all, " ")
}

// gatewayFake answers requests without a network, and remembers them.
type gatewayFake struct {
	mu     sync.Mutex // guards the fields below
	posted []request
	answer func(n int, token string) (int, error) // n counts from 1; nil is 200
	took   time.Duration
	now    int // under way
	most   int
}

type request struct {
	token string
	at    time.Time
}

func (g *gatewayFake) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	g.posted = append(g.posted, request{string(body), time.Now()})
	n, answer, took := len(g.posted), g.answer, g.took
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() { g.mu.Lock(); g.now--; g.mu.Unlock() }()
	if took > 0 {
		select {
		case <-time.After(took):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	status := http.StatusOK
	if answer != nil {
		if status, err = answer(n, string(body)); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("whatever"))}, nil
}

func (g *gatewayFake) say(answer func(n int, token string) (int, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = answer
}

func (g *gatewayFake) requests() []request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.posted)
}

// tokens gives what was posted, in order.
func (g *gatewayFake) tokens() string {
	var all []string
	for _, r := range g.requests() {
		all = append(all, r.token)
	}
	return strings.Join(all, " ")
}

// rig is a Sender with fakes around it. In a bubble of synctest its time is
// fake, too.
type rig struct {
	*Sender
	t       *testing.T
	store   *fakeStore
	gateway *gatewayFake
	disk    *faultfs.FS
	log     *syncBuffer
	metrics *metrics.Registry
	change  func(*Config)
}

type syncBuffer struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// stay is a disk that outlives the Sender.
type stay struct{ journal.FS }

func (stay) Close() error { return nil }

func newRig(t *testing.T, change func(*Config)) *rig {
	r := &rig{
		t: t, store: &fakeStore{tokens: map[smtp.Address][]storage.Entry{}}, gateway: &gatewayFake{},
		disk: faultfs.New(), log: &syncBuffer{}, change: change,
	}
	r.open()
	return r
}

// open begins with what is on the disk.
func (r *rig) open() {
	r.t.Helper()
	r.metrics = metrics.New()
	cfg := Config{
		Store: r.store, URL: "https://gateway.test/notify", FS: stay{r.disk}, Transport: r.gateway,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.metrics,
	}
	if r.change != nil {
		r.change(&cfg)
	}
	r.Sender = New(cfg)
}

func (r *rig) close() {
	r.t.Helper()
	if err := r.Close(r.t.Context()); err != nil {
		r.t.Error(err)
	}
	for _, secret := range []string{"secret", "alice", "@relay.test"} {
		if strings.Contains(r.log.String(), secret) {
			r.t.Errorf("the log has %q: %s", secret, r.log)
		}
	}
}

// kill ends the Sender without letting it write anything more.
func (r *rig) kill() {
	dead := r.Sender
	dead.cfg.FS = nil
	dead.endRun()
	dead.endSend()
	dead.requested.Wait()
	dead.loops.Wait()
	dead.file.close()
}

func (r *rig) mail(to string) { r.Notify(address(to), address("somebody@elsewhere.test")) }

func (r *rig) value(name string) int {
	r.t.Helper()
	values, err := r.metrics.Values()
	if err != nil {
		r.t.Fatal(err)
	}
	return int(values[name])
}

func address(s string) smtp.Address {
	a, err := smtp.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// bubble runs a test in fake time.
func bubble(t *testing.T, change func(*Config), f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		defer r.close()
		f(t, r)
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// gaps gives the times between requests.
func gaps(all []request) []time.Duration {
	var list []time.Duration
	for i := 1; i < len(all); i++ {
		list = append(list, all[i].at.Sub(all[i-1].at))
	}
	return list
}
