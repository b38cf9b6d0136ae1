package submit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/metrics"
	"barid/internal/netserve"
	"barid/test/transcript"
)

// rig is a Server with a store where alice and bob live.
type rig struct {
	*Server
	store *fakeStore
	log   *bytes.Buffer
	wg    sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
}

func newRig(t testing.TB, change func(*Config)) *rig {
	r := &rig{store: newFakeStore(), log: new(bytes.Buffer)}
	for _, name := range []string{"alice", "bob", "carol"} {
		r.store.passwords[address(name+"@relay.test")] = "password"
	}
	cfg := Config{
		Store: r.store, Domain: "relay.test", Metrics: metrics.New(), LoginDelay: time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		TLS:    &tls.Config{Certificates: []tls.Certificate{certificate()}},
	}
	if change != nil {
		change(&cfg)
	}
	r.Server = New(cfg)
	r.ctx, r.stop = context.WithCancel(context.Background())
	t.Cleanup(func() {
		r.stop()
		r.wg.Wait()
		if r.store.drafts != 0 {
			t.Errorf("%d drafts were not discarded", r.store.drafts)
		}
		for _, secret := range []string{"alice", "bob@", "192.0.2", "password"} {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log has %q: %s", secret, r.log)
			}
		}
	})
	return r
}

// dial connects over net.Pipe to one of the handlers.
func (r *rig) dial(t testing.TB, h netserve.Handler) net.Conn {
	client, server := net.Pipe()
	r.wg.Go(func() { r.serve(server, h) })
	t.Cleanup(func() { client.Close() })
	return client
}

func (r *rig) serve(server net.Conn, h netserve.Handler) {
	defer server.Close()
	h.ServeConn(r.ctx, netserve.NewConn(server, netip.MustParseAddr("192.0.2.1")))
}

// play plays a dialogue with the clear handler after EHLO and, with a name,
// AUTH.
func (r *rig) play(t testing.TB, login, text string) {
	t.Helper()
	transcript.Play(t, r.dial(t, r.Clear()), hello(login)+text)
}

func hello(login string) string {
	text := "S: 220 relay.test ESMTP Service Ready\nC: EHLO [127.0.0.1]\nS* 250 .*\n"
	if login != "" {
		text += "C: AUTH PLAIN " + credentials(login, "password") + "\nS: 235 2.7.0 Authentication successful\n"
	}
	return text
}

func credentials(login, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + login + "\x00" + password))
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// cipher is all of an encrypted message but its From: fields and body, as a
// transcript sends it, up to the end of DATA.
const cipher = "C: Subject: [...]\nC: Date: Sat, 21 Nov 2026 01:58:47 +0000\nC: Message-ID: <1@localhost>\n" +
	"C: Content-Type: multipart/encrypted; boundary=b\nC: \nC: --b\nC: Content-Type: application/pgp-encrypted\nC: \nC: Version: 1\n" +
	"C: --b\nC: Content-Type: application/octet-stream\nC: \n" + armored + "C: --b--\nC: .\n"

// armored is one packet of encrypted data, version 1.
const armored = "C: -----BEGIN PGP MESSAGE-----\nC: \nC: 0hQBAAAAAAAAAAAAAAAAAAAAAAAAAA==\nC: -----END PGP MESSAGE-----\n"

// letter is such a message from alice.
const letter = "C: From: <alice@relay.test>\n" + cipher

// stored is what becomes of the lines of a transcript.
func stored(lines string) string {
	text := "Return-Path: <alice@relay.test>\r\n"
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, "C: "), "\n")
		if line == "." {
			break
		}
		text += line + "\r\n"
	}
	return text
}

func TestAMessageGoesFromLoginToInbox(t *testing.T) {
	r := newRig(t, nil)
	r.play(t, "Alice@relay.test", "C: MAIL FROM:<alice@relay.test> BODY=8BITMIME\nS~ 250 .*\nC: RCPT TO:<bob@relay.test>\nS~ 250 .*\nC: DATA\nS~ 354 .*\n"+
		letter+"S: 250 2.0.0 OK\nC: QUIT\nS~ 221 .*\nS--\n")
	if got := r.store.mail("bob@relay.test"); len(got) != 1 || got[0] != stored(letter) {
		t.Fatalf("bob has %q", got)
	}
	values, err := r.cfg.Metrics.Values()
	if err != nil || values["delivered_mail"] != 1 {
		t.Fatalf("delivered_mail %v, %v", values["delivered_mail"], err)
	}
}
