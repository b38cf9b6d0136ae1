package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"barid/internal/app"
	"barid/internal/config"
	"barid/storage"
	"barid/web"
)

// Options shape a relay. The zero value is a relay for "relay.test" with
// certificates of a CA of its own.
type Options struct {
	Domain string // default "relay.test"
	CA     *CA    // default a new one; not used with SelfSigned
	// SelfSigned leaves the certificate to the relay.
	SelfSigned bool
	// DataDir default is a new directory that ends with the test.
	DataDir string
	// Change adjusts the configuration before the relay is made.
	Change func(*config.Config)
	// Logger gets the relay's log. Default is the test's own log, shown when it
	// fails.
	Logger *slog.Logger
}

// Relay is a running relay.
type Relay struct {
	Domain string
	CA     *CA // nil with SelfSigned

	cfg *config.Config
	log *slog.Logger
	app *app.App
}

// New starts a relay that ends with the test.
func New(t testing.TB, opt Options) *Relay {
	t.Helper()
	if opt.Domain == "" {
		opt.Domain = "relay.test"
	}
	if opt.DataDir == "" {
		opt.DataDir = t.TempDir()
	}
	if opt.Logger == nil {
		opt.Logger = testLogger(t)
	}
	r := &Relay{Domain: opt.Domain, log: opt.Logger, cfg: laboratory(opt.Domain, opt.DataDir)}
	if !opt.SelfSigned {
		r.CA = opt.CA
		if r.CA == nil {
			r.CA = NewCA(t)
		}
		r.cfg.TLS.Mode = config.TLSFiles
		r.cfg.TLS.Cert, r.cfg.TLS.Key = r.CA.Files(t, opt.Domain)
	}
	if opt.Change != nil {
		opt.Change(r.cfg)
	}
	putKeys(t, opt.DataDir)
	r.start(t)
	t.Cleanup(func() { r.stop(t) })
	return r
}

// laboratory is the configuration of a relay on loopback ports.
func laboratory(domain, dataDir string) *config.Config {
	cfg := config.Default(domain)
	cfg.DataDir = dataDir
	cfg.Federation.Outgoing = config.OutgoingOff // a test that wants it says where to
	cfg.Push.Enabled = false                     // no test calls the world
	cfg.Limits.AnyMachine()                      // tests run on busy ones
	cfg.Limits.SignupBurst = 0
	cfg.TLS.Mode = config.TLSSelfSigned
	for _, name := range cfg.Listen.Names() {
		cfg.Listen.Set(name, []string{"127.0.0.1:0"})
	}
	return cfg
}

func (r *Relay) start(t testing.TB) {
	t.Helper()
	a, err := app.New(r.cfg, app.Options{Logger: r.log, Version: "test"})
	if err != nil {
		t.Fatalf("make the relay: %v", err)
	}
	if err := a.Start(t.Context()); err != nil {
		a.Stop(context.Background())
		t.Fatalf("start the relay: %v", err)
	}
	r.app = a
	r.keepPorts()
}

// keepPorts writes the ports that the kernel gave into the configuration, so
// that the relay comes back where its clients look for it.
func (r *Relay) keepPorts() {
	for _, name := range r.cfg.Listen.Names() {
		if addr := r.app.Addr(name); addr != "" {
			r.cfg.Listen.Set(name, []string{addr})
		}
	}
}

func (r *Relay) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.app.Stop(ctx); err != nil {
		t.Errorf("stop the relay: %v", err)
	}
}

// Restart ends the relay as an operator would and starts it again on the same
// data and ports.
func (r *Relay) Restart(t testing.TB) {
	t.Helper()
	r.stop(t)
	r.start(t)
}

// App is the running relay.
func (r *Relay) App() *app.App { return r.app }

// Addr gives the address of a listener by its name in the configuration.
func (r *Relay) Addr(listener string) string { return r.app.Addr(listener) }

// Address gives the mail address of a name on this relay.
func (r *Relay) Address(name string) string { return name + "@" + r.Domain }

// PasswordOf is the password that LoginURI gives a name.
func PasswordOf(name string) storage.Password { return storage.Password("secret-of-" + name) }

// LoginURI invites the core to the account of that name over TLS, taking any
// certificate.
func (r *Relay) LoginURI(name string) string {
	return r.loginURI(name, "imaps", "submissions", web.SSL, true)
}

// ClearLoginURI invites the core to the account of that name without TLS.
func (r *Relay) ClearLoginURI(name string) string {
	return r.loginURI(name, "imap_clear", "submission_clear", web.Plain, false)
}

func (r *Relay) loginURI(name, imap, smtp string, security web.Security, anyCertificate bool) string {
	host, imapPort := split(r.Addr(imap))
	_, smtpPort := split(r.Addr(smtp))
	return web.LoginURI(r.Address(name), PasswordOf(name).Wire(), web.LoginOptions{
		Host: host, IMAPPort: imapPort, SMTPPort: smtpPort, IMAPSecurity: security, SMTPSecurity: security,
		AcceptInvalid: anyCertificate,
	})
}

// TLSConfig is a client's that trusts the relay's CA, or any certificate when
// the relay has a self-signed one.
func (r *Relay) TLSConfig() *tls.Config {
	if r.CA == nil {
		return &tls.Config{InsecureSkipVerify: true}
	}
	return &tls.Config{RootCAs: r.CA.Pool, ServerName: r.Domain}
}

// Dial connects to a listener, with TLS where it speaks TLS first.
func (r *Relay) Dial(t testing.TB, listener string) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", r.Addr(listener))
	if err != nil {
		t.Fatalf("dial %s: %v", listener, err)
	}
	switch listener {
	case "imaps", "submissions", "https":
		conn = tls.Client(conn, r.TLSConfig())
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func split(addr string) (host string, port uint16) {
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	fmt.Sscan(p, &port)
	return host, port
}

// testLogger writes the relay's log into the test's.
func testLogger(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testWriter is an io.Writer on a test's log, silent once the test is over:
// a test that failed in its middle may have parts still talking.
type testWriter struct {
	mu   sync.Mutex // guards the fields below
	t    testing.TB
	over bool
}

func (w *testWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Log(strings.TrimRight(string(line), "\n"))
	}
	return len(line), nil
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
