package wire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/netserve"
	"barid/smtp"
	"barid/storage"
	"barid/test/transcript"
)

// recorder is a Session that writes down what it is asked, and answers what
// it is told to.
type recorder struct {
	mu    sync.Mutex
	calls []string

	auth  func(login string, p storage.Password) error
	mail  error
	rcpt  error
	data  func(io.Reader) (*smtp.Reply, error)
	begin *smtp.Reply
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recorder) Auth(_ context.Context, login string, p storage.Password) error {
	r.note("auth %s %s", login, p.Wire())
	if r.auth != nil {
		return r.auth(login, p)
	}
	return nil
}

func (r *recorder) Mail(_ context.Context, from smtp.Path, p MailParams) error {
	r.note("mail %s", from.Wire())
	return r.mail
}

func (r *recorder) Rcpt(_ context.Context, to smtp.Address) error {
	r.note("rcpt %s", to.Wire())
	return r.rcpt
}

func (r *recorder) Data(ctx context.Context, content io.Reader) (*smtp.Reply, error) {
	if r.data != nil {
		return r.data(content)
	}
	b, err := io.ReadAll(content)
	if err != nil {
		r.note("broken %v", err)
		return nil, err
	}
	if ctx.Err() != nil {
		r.note("the context ended before the work")
	}
	r.note("data %q", b)
	return nil, nil
}

func (r *recorder) Reset() { r.note("reset") }
func (r *recorder) Close() { r.note("close") }

// rig is a Server with one recorder for all its connections.
type rig struct {
	*recorder
	srv  *Server
	log  *bytes.Buffer
	wg   sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
}

func newRig(t testing.TB, change func(*Config)) *rig {
	r := &rig{recorder: new(recorder), log: new(bytes.Buffer)}
	cfg := Config{
		Hostname: "relay.test", InTheClear: true, Auth: true, Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Begin: func(_ context.Context, p Peer) (Session, *smtp.Reply) {
			if r.begin != nil {
				return nil, r.begin
			}
			return r.recorder, nil
		},
	}
	if change != nil {
		change(&cfg)
	}
	r.srv = New(cfg)
	r.ctx, r.stop = context.WithCancel(context.Background())
	t.Cleanup(r.wait)
	return r
}

// underTLS demands TLS, which STARTTLS gives.
func underTLS(cfg *Config) {
	cfg.InTheClear, cfg.TLS = false, &tls.Config{Certificates: []tls.Certificate{certificate()}}
}

// wait ends all dialogues.
func (r *rig) wait() {
	r.stop()
	r.wg.Wait()
}

// dial connects over net.Pipe.
func (r *rig) dial(t testing.TB) net.Conn {
	client, server := net.Pipe()
	r.serve(t, server)
	t.Cleanup(func() { client.Close() })
	return client
}

func (r *rig) serve(t testing.TB, server net.Conn) {
	r.wg.Go(func() {
		defer server.Close()
		r.srv.ServeConn(r.ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.1")))
	})
}

const hello = "S: 220 relay.test ESMTP Service Ready\nC: EHLO [127.0.0.1]\nS* 250 .*\n"

// envelope opens a transaction up to its content.
const envelope = "C: MAIL FROM:<a@x.test>\nS~ 250 .*\nC: RCPT TO:<b@y.test>\nS~ 250 .*\n"

const quit = "C: QUIT\nS~ 221 .*\nS--\n"

// play plays a dialogue on a connection of its own, after EHLO.
func (r *rig) play(t testing.TB, text string) {
	t.Helper()
	conn := r.dial(t)
	defer conn.Close()
	transcript.Play(t, conn, hello+text)
}

// expect compares what the Session was asked, once all dialogues are over,
// without what ends it.
func (r *rig) expect(t testing.TB, want ...string) {
	t.Helper()
	r.wait()
	got := slices.DeleteFunc(slices.Clone(r.calls), func(s string) bool { return s == "reset" || s == "close" })
	if !slices.Equal(got, want) {
		t.Errorf("the session was asked\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func plainLogin(login, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + login + "\x00" + password))
}

// certificate is made for each rig, so that no test depends on another.
func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var errOurs = errors.New("a fault at alice@relay.test")
