package receive

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/dkim"
	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/internal/resolver"
	"barid/smtp"
	"barid/smtp/wire"
	"barid/storage"
	"barid/storage/local"
	"barid/test/transcript"
)

// rig is a Server over a real store, in which alice, bob and carol live. Carol
// takes mail in the clear. The DNS knows the key of author.test.
type rig struct {
	*Server
	store  *store
	zone   zone
	outbox outbox
	log    *bytes.Buffer
	signer *dkim.Signer
	clear  *wire.Server // without TLS
	wg     sync.WaitGroup
	ctx    context.Context
}

// store counts drafts, and lets some accounts take mail in the clear.
type store struct {
	storage.Store
	mu     sync.Mutex // guards the fields below
	drafts int
	open   map[smtp.Address]bool
	broken error
	unread error // what reading a draft gives
}

type draft struct {
	storage.Draft
	s *store
	o sync.Once
}

func (s *store) Draft(ctx context.Context, size int64) (storage.Draft, error) {
	d, err := s.Store.Draft(ctx, size)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drafts++
	return &draft{Draft: d, s: s}, nil
}

func (d *draft) Discard() {
	d.o.Do(func() { d.s.mu.Lock(); d.s.drafts--; d.s.mu.Unlock() })
	d.Draft.Discard()
}

func (d *draft) ReadAt(p []byte, at int64) (int, error) {
	if d.s.unread != nil {
		return 0, d.s.unread
	}
	return d.Draft.ReadAt(p, at)
}

func (s *store) Commit(ctx context.Context, b storage.Batch) (storage.Result, error) {
	if s.broken != nil {
		return storage.Result{}, s.broken
	}
	for i, op := range b.Ops { // the engine knows its own drafts
		if deliver, ok := op.(storage.Deliver); ok {
			if d, ok := deliver.Content.(*draft); ok {
				deliver.Content = d.Draft
				b.Ops[i] = deliver
			}
		}
	}
	return s.Store.Commit(ctx, b)
}

func (s *store) EncryptedOnly(ctx context.Context, a storage.Account) (bool, error) {
	only, err := s.Store.EncryptedOnly(ctx, a)
	return only && !s.open[a.Address], err
}

// zone is a DNS with TXT records.
type zone map[string]string

func (z zone) TXT(_ context.Context, name string) (resolver.Answer[string], error) {
	switch {
	case strings.HasSuffix(name, ".trouble.test"):
		return resolver.Answer[string]{}, resolver.ErrTemporary
	case z[name] == "":
		return resolver.Answer[string]{}, resolver.ErrNoName
	}
	return resolver.Answer[string]{Records: []string{z[name]}}, nil
}

func (z zone) FreshTXT(ctx context.Context, name string, _ time.Duration) (resolver.Answer[string], error) {
	return z.TXT(ctx, name)
}

// outbox keeps what leaves.
type outbox struct {
	sent []string // "address content"
	err  error
}

func (o *outbox) Send(_ context.Context, to smtp.Address, content []byte) error {
	o.sent = append(o.sent, to.Wire()+" "+string(content))
	return o.err
}

func address(s string) smtp.Address {
	a, err := smtp.ParseAddress(s)
	if err != nil {
		panic(err)
	}
	return a
}

// key is a key file that all tests share.
var key = sync.OnceValue(func() []byte {
	_, k, _ := ed25519.GenerateKey(rand.Reader)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
})

func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	st, err := local.Open(local.Config{Dir: t.TempDir(), Domain: "relay.test", NoSync: true, Quota: 1 << 20, MaxMessage: 1 << 20, Policy: local.Policy{UsernameMin: 1, UsernameMax: 20, PasswordMin: 1}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: &store{Store: st, open: map[smtp.Address]bool{address("carol@relay.test"): true}}, zone: zone{}, log: new(bytes.Buffer)}
	for _, name := range []string{"alice", "bob", "carol"} {
		if _, err := st.Login(t.Context(), address(name+"@relay.test"), "password", storage.Origin{}); err != nil {
			t.Fatal(err)
		}
	}
	r.signer = r.newSigner(t, "author.test")
	cfg := Config{
		Store: r.store, Domain: "relay.test", Metrics: metrics.New(), Outbox: &r.outbox, MaxMessageSize: 100_000,
		Verifier: dkim.NewVerifier(dkim.VerifierConfig{Keys: r.zone}),
		Logger:   slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	r.Server = New(cfg)
	d := r.dialogue()
	d.InTheClear = true
	r.clear = wire.New(d)
	var stop context.CancelFunc
	r.ctx, stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		stop()
		r.wg.Wait()
		if r.store.drafts != 0 {
			t.Errorf("%d drafts were not discarded", r.store.drafts)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{"alice", "bob", "carol", "writer", "192.0.2"} {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log has %q: %s", secret, r.log)
			}
		}
	})
	return r
}

// newSigner makes a signer and publishes its key.
func (r *rig) newSigner(t testing.TB, domain string) *dkim.Signer {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, key(), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := dkim.ReadKey(file, "s1")
	if err != nil {
		t.Fatal(err)
	}
	r.zone[k.Record().Name+"."+domain] = k.Record().Text
	s, err := dkim.NewSigner(dkim.SignerConfig{Domain: domain, Keys: []dkim.Key{k}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sign signs a mail for author.test.
func (r *rig) sign(t testing.TB, mail string) string { return signWith(t, r.signer, mail) }

func signWith(t testing.TB, s *dkim.Signer, mail string) string {
	t.Helper()
	g := s.Sign()
	g.Write([]byte(mail))
	fields, err := g.Fields()
	if err != nil {
		t.Fatal(err)
	}
	return string(fields) + mail
}

// writer is who writes most mail here.
const writer = "writer@author.test"

// encrypted is a mail from somebody.
func encrypted(from string) string {
	return "From: <" + from + ">\r\nTo: \"hidden-recipients\": ;\r\nSubject: [...]\r\nDate: Sat, 21 Nov 2026 01:58:47 +0000\r\nMessage-ID: <1@localhost>\r\n" +
		"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n" +
		"--b\r\nContent-Type: application/octet-stream\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n\r\n0hQBAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n-----END PGP MESSAGE-----\r\n--b--\r\n"
}

// plainMail is one in the clear.
const plainMail = "From: <writer@author.test>\r\nSubject: Hello\r\n\r\nHello.\r\n.dot\r\n"

// lines makes a transcript send a mail and the dot that ends it.
func lines(mail string) string {
	text := ""
	for line := range strings.SplitSeq(strings.TrimSuffix(mail, "\r\n"), "\r\n") {
		if strings.HasPrefix(line, ".") {
			line = "." + line
		}
		text += "C: " + line + "\n"
	}
	return text + "C: .\n"
}

// send plays one transaction over SMTP. What is expected at the end is a line
// of a transcript without its "S: ".
func (r *rig) send(t testing.TB, from string, to []string, mail, want string) {
	t.Helper()
	text := hello + "C: MAIL FROM:<" + from + ">\nS~ 250 .*\n"
	for _, a := range to {
		text += "C: RCPT TO:<" + a + ">\nS~ 250 .*\n"
	}
	r.play(t, text+"C: DATA\nS~ 354 .*\n"+lines(mail)+"S: "+want+"\nC: QUIT\nS~ 221 .*\nS--\n")
}

const (
	hello   = "S: 220 relay.test ESMTP Service Ready\nC: EHLO mx.author.test\nS* 250 .*\n"
	replyOK = "250 2.0.0 OK"
)

func (r *rig) play(t testing.TB, text string) {
	t.Helper()
	client, server := net.Pipe()
	r.wg.Go(func() {
		defer server.Close()
		r.clear.ServeConn(r.ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.1")))
	})
	defer client.Close()
	transcript.Play(t, client, text)
}

// post sends one message to /mxdeliv.
func (r *rig) post(t testing.TB, from string, to []string, body string) (status int, text string) {
	t.Helper()
	q := httptest.NewRequest(http.MethodPost, "https://relay.test/mxdeliv", strings.NewReader(body))
	if from != "" {
		q.Header.Add("X-MAIL-FROM", from)
	}
	for _, a := range to {
		q.Header.Add("X-MAIL-TO", a)
	}
	w := httptest.NewRecorder()
	r.Deliver(func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }).ServeHTTP(w, q)
	return w.Code, w.Body.String()
}

// mail gives what is in the INBOX of an account.
func (r *rig) mail(t testing.TB, name string) []string {
	t.Helper()
	box, err := r.store.Open(t.Context(), storage.Account{Address: address(name + "@relay.test")}, storage.InboxName)
	if err != nil {
		t.Fatal(err)
	}
	defer box.Close()
	view, err := box.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var uids []storage.UID
	for _, m := range view.Messages {
		uids = append(uids, m.UID)
	}
	var all []string
	if err := box.Read(t.Context(), uids, storage.Whole, func(_ storage.UID, c storage.Content) error {
		text, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		all = append(all, string(text))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// nothing checks that nobody got anything.
func (r *rig) nothing(t testing.TB, what string) {
	t.Helper()
	for _, name := range []string{"alice", "bob", "carol"} {
		if got := r.mail(t, name); len(got) != 0 {
			t.Errorf("%s: %s has %q", what, name, got)
		}
	}
	if len(r.outbox.sent) != 0 {
		t.Errorf("%s: sent %q", what, r.outbox.sent)
	}
}
