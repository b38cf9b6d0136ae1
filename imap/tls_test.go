package imap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"barid/internal/netserve"
	"barid/storage"
	"barid/test/transcript"
)

func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"relay.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	}
}

// clientTLS is a hello like the phones': X25519 alone, no name.
func clientTLS() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}}
}

// listen serves the lab on a real socket and gives its address.
func (l *lab) listen(t testing.TB, mode netserve.Mode, cfg *tls.Config) string {
	t.Helper()
	ns := netserve.New(netserve.Config{})
	addr, err := ns.Listen(netserve.Listener{Name: "imap", Addr: "127.0.0.1:0", Mode: mode, TLS: cfg, Handler: l.sv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := ns.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return addr.String()
}

func (l *lab) dialTLS(t testing.TB) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", l.listen(t, netserve.TLS, serverTLS(t)), clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// segments lets a test decide what goes into one segment.
type segments struct {
	net.Conn
	held []byte
	hold bool
}

func (s *segments) Write(p []byte) (int, error) {
	if s.hold {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	return s.Conn.Write(p)
}

func (s *segments) send() {
	s.Conn.Write(s.held)
	s.held, s.hold = nil, false
}

// The record behind the one that is read must not be slept on.
func TestTwoRecordsInOneSegment(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	raw, err := net.Dial("tcp", l.listen(t, netserve.TLS, serverTLS(t)))
	if err != nil {
		t.Fatal(err)
	}
	seg := &segments{Conn: raw}
	conn := tls.Client(seg, clientTLS())
	defer conn.Close()
	p := transcript.New(t, conn)
	p.Play(t, login+"C: s SELECT INBOX\nS* s OK .*\n")
	for range 50 {
		seg.hold = true
		conn.Write([]byte("b IDLE\r\n"))
		conn.Write([]byte("DONE\r\n"))
		seg.send()
		p.Play(t, "S: + idling\nS: b OK Idle completed\n")
	}
	// One record that holds both, and one that is cut in two segments.
	conn.Write([]byte("b IDLE\r\nDONE\r\nc IDLE\r\n"))
	p.Play(t, "S: + idling\nS: b OK Idle completed\nS: + idling\n")
	l.deliver(t, "alice@relay.test", letter)
	p.Play(t, "S: * 1 EXISTS\n")
	seg.hold = true
	conn.Write([]byte("DONE\r\n"))
	rest := seg.held[7:]
	seg.held = seg.held[:7]
	seg.send()
	l.deliver(t, "alice@relay.test", letter) // is told although half a record waits
	p.Play(t, "S: * 2 EXISTS\n")
	raw.Write(rest)
	p.Play(t, "S: c OK Idle completed\n")
}

func TestIdleOverTLSIsToldAndEnds(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	p := transcript.New(t, l.dialTLS(t))
	p.Play(t, login+"C: s SELECT INBOX\nS* s OK .*\n")
	for i := range 20 {
		p.Play(t, "C: b IDLE\nS: + idling\n")
		l.deliver(t, "alice@relay.test", letter)
		p.Play(t, "S~ \\* \\d+ EXISTS\nC: DONE\nS: b OK Idle completed\n")
		if i%5 == 0 {
			p.Play(t, "C: c UID FETCH 1:* (FLAGS BODY.PEEK[])\nS* c OK .*\n")
		}
	}
	p.Play(t, "C: d LOGOUT\nS: * BYE Logging out\nS: d OK Logout completed\nS--\n")
}

func TestStartTLSComesBeforeLogin(t *testing.T) {
	cfg := serverTLS(t)
	l := newLab(t, func(c *Config) { c.TLS = cfg })
	l.born(t, "alice@relay.test")
	addr := l.listen(t, netserve.Clear, nil)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	transcript.Play(t, dial(), `
S: * OK [CAPABILITY IMAP4rev1 ID IDLE LITERAL+ XCHATMAIL XDELTAPUSH STARTTLS LOGINDISABLED] relay.test ready
C: a LOGIN "alice@relay.test" "secret-of-alice@relay.test"
S: a NO [PRIVACYREQUIRED] Use STARTTLS first
C: b AUTHENTICATE PLAIN
S: b NO [PRIVACYREQUIRED] Use STARTTLS first
C: c STARTTLS
S: c OK Begin TLS negotiation now
TLS
C: d CAPABILITY
S: * CAPABILITY IMAP4rev1 SASL-IR ID IDLE LITERAL+ XCHATMAIL XDELTAPUSH AUTH=PLAIN
S: d OK Capability completed
C: e STARTTLS
S~ e BAD .*
C: f LOGIN "alice@relay.test" "secret-of-alice@relay.test"
S~ f OK .*
`)
	// What was sent in the clear must not be taken for what comes in TLS.
	transcript.Play(t, dial(), `
S~ \* OK .*
C\ a STARTTLS\r\nb NOOP\r\n
S~ \* BYE .*
S--
`)
}

func TestClearTextWithoutTLSOffersNoLogin(t *testing.T) {
	l := newLab(t)
	conn, err := net.Dial("tcp", l.listen(t, netserve.Clear, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	transcript.Play(t, conn, `
S: * OK [CAPABILITY IMAP4rev1 ID IDLE LITERAL+ XCHATMAIL XDELTAPUSH LOGINDISABLED] relay.test ready
C: a STARTTLS
S~ a BAD .*
`)
}

// What other mail programs do, by a client that is not of ours.
func TestForeignClient(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	c := imapclient.New(l.dialTLS(t), nil)
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.WaitGreeting())
	must(c.Authenticate(sasl.NewPlainClient("", "alice@relay.test", "secret-of-alice@relay.test")))
	must(c.Create("Archive", nil).Wait())
	boxes, err := c.List("", "*", nil).Collect()
	must(err)
	if len(boxes) != 2 || boxes[1].Mailbox != "Archive" || boxes[1].Delim != '.' {
		t.Fatalf("%+v", boxes)
	}
	body := []byte("From: bob@relay.test\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n")
	for range 3 {
		a := c.Append("INBOX", int64(len(body)), &goimap.AppendOptions{Flags: []goimap.Flag{goimap.FlagSeen}})
		a.Write(body)
		must(a.Close())
		if _, err := a.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	sel, err := c.Select("INBOX", nil).Wait()
	must(err)
	if sel.NumMessages != 3 || sel.UIDNext != 4 || sel.UIDValidity == 0 {
		t.Fatalf("%+v", sel)
	}
	got, err := c.Fetch(goimap.UIDSetNum(1, 2), &goimap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true, ModSeq: true,
		BodyStructure: &goimap.FetchItemBodyStructure{Extended: true},
		BodySection:   []*goimap.FetchItemBodySection{{Peek: true}, {Part: []int{2}, Peek: true}},
	}).Collect()
	must(err)
	if len(got) != 2 || got[0].Envelope.Subject != "x" || got[0].RFC822Size != int64(len(body)) || got[0].BodyStructure.MediaType() != "multipart/mixed" ||
		string(got[0].BodySection[0].Bytes) != string(body) || string(got[0].BodySection[1].Bytes) != "<p>" {
		t.Fatalf("%+v", got[0])
	}
	found, err := c.UIDSearch(&goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagSeen}, Not: []goimap.SearchCriteria{{Header: []goimap.SearchCriteriaHeaderField{{Key: "From", Value: "carol"}}}}}, nil).Wait()
	must(err)
	if n := found.AllUIDs(); len(n) != 3 {
		t.Fatal(n)
	}
	copied, err := c.Copy(goimap.UIDSetNum(1), "Archive").Wait()
	must(err)
	if copied.DestUIDs.String() != "1" {
		t.Fatalf("%+v", copied)
	}
	if _, err := c.Move(goimap.UIDSetNum(2), "Archive").Wait(); err != nil {
		t.Fatal(err)
	}
	must(c.Store(goimap.UIDSetNum(1), &goimap.StoreFlags{Op: goimap.StoreFlagsAdd, Flags: []goimap.Flag{goimap.FlagDeleted}}, nil).Close())
	must(c.UIDExpunge(goimap.UIDSetNum(1)).Close())
	status, err := c.Status("Archive", &goimap.StatusOptions{NumMessages: true, UIDNext: true, NumUnseen: true}).Wait()
	must(err)
	if *status.NumMessages != 2 || status.UIDNext != 3 {
		t.Fatalf("%+v", status)
	}
	roots, err := c.GetQuotaRoot("INBOX").Wait()
	must(err)
	if len(roots) != 1 || roots[0].Resources[goimap.QuotaResourceStorage].Limit != 512000 {
		t.Fatalf("%+v", roots)
	}
	meta, err := c.GetMetadata("", []string{"/shared/vendor/deltachat/maxsmtprecipients"}, nil).Wait()
	must(err)
	if v := meta.Entries["/shared/vendor/deltachat/maxsmtprecipients"]; v == nil || string(*v) != "1000" {
		t.Fatalf("%+v", meta)
	}
	if _, err := c.ID(&goimap.IDData{Name: "test"}).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Namespace().Wait(); err != nil {
		t.Fatal(err)
	}
	must(c.Unselect().Wait())
	must(c.Logout().Wait())
}

// A store that fails tells a foreign client as well, by BYE.
func TestForeignClientLearnsOfFaults(t *testing.T) {
	l := newLab(t)
	l.born(t, "alice@relay.test")
	c := imapclient.New(l.dialTLS(t), nil)
	defer c.Close()
	if err := c.Login("alice@relay.test", "secret-of-alice@relay.test").Wait(); err != nil {
		t.Fatal(err)
	}
	l.store.mu.Lock()
	l.store.fail = storage.ErrClosed
	l.store.mu.Unlock()
	if _, err := c.Select("INBOX", nil).Wait(); err == nil {
		t.Fatal("SELECT of a closed store worked")
	} else if e, ok := errors.AsType[*goimap.Error](err); ok && e.Type == goimap.StatusResponseTypeNo {
		t.Fatal(err)
	}
}
