package interop

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"barid/test/deltachat"
	"barid/test/harness"
)

// An operator sets up a relay: something is in the way, then not; the zone is
// pasted and turns green; everything is looked at; and the invite that init
// printed brings a real core aboard.
func TestInteropAnOperatorsFirstMinutes(t *testing.T) {
	const domain = "_new.test"
	harness.InNamespace(t, []string{domain, "turn." + domain}, func(t *testing.T, server *harness.DNS) {
		dir := t.TempDir()
		program := filepath.Join(dir, "barid")
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "barid/cmd/barid")
		build.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		o := operator{t: t, program: program, config: filepath.Join(dir, "etc", "barid.toml")}
		data := filepath.Join(dir, "data")

		other, err := net.Listen("tcp", "127.0.0.1:993")
		if err != nil {
			t.Fatal(err)
		}
		said := o.says(1, "init", "--data-dir", data, domain)
		if !strings.Contains(said, "Port 993 is occupied by ") {
			t.Errorf("init, with a port taken:\n%s", said)
		}
		if _, err := os.Stat(filepath.Dir(o.config)); !errors.Is(err, os.ErrNotExist) {
			t.Error("something was made though a port was taken")
		}
		other.Close()

		first := o.says(0, "init", "--data-dir", data, domain)
		invite := regexp.MustCompile(`(?m)^dclogin:\S+$`).FindString(first)
		o.configure(`#addresses = []`, `addresses = ["127.0.0.1"]`)
		o.configure(`#url = "https://notifications.delta.chat/notify"`, `url = "http://127.0.0.1:9/"`)
		o.configure(`#max_load_1m = 5`, `max_load_1m = 0`) // tests run on busy machines
		if again := o.says(0, "init", domain); !strings.Contains(again, "was there before; nothing was changed.") || !strings.Contains(again, " IN MX ") {
			t.Errorf("a second init:\n%s", again)
		}

		stop := o.run()
		defer stop()
		if said := o.says(1, "dns", "check"); !strings.Contains(said, "add: "+domain+". 3600 IN MX 10 "+domain+".") {
			t.Errorf("dns check, with nothing there:\n%s", said)
		}
		server.Add(t, domain+". 60 IN SOA "+domain+". x. 1 60 60 60 60")
		zone := dns.NewZoneParser(strings.NewReader(o.says(0, "dns")), "", "")
		for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
			server.Add(t, rr.String())
		}
		if said := o.says(0, "dns", "check", "--wait", "--timeout", "30s"); !strings.Contains(said, "All your DNS entries are verified and correct.") {
			t.Errorf("dns check, with the zone pasted:\n%s", said)
		}
		said = o.says(0, "check")
		for _, fault := range []string{"fault ", "The relay does not answer", "Nobody answers", "The DNS record"} {
			if strings.Contains(said, fault) {
				t.Errorf("check says %q:\n%s", fault, said)
			}
		}
		a := deltachat.Start(t, deltachat.Options{Name: "first"}).AddAccount("First")
		a.Configure(invite)
		if !strings.HasSuffix(a.Address(), "@"+domain) {
			t.Errorf("the address is %s", a.Address())
		}
	})
}

// operator runs commands on one configuration.
type operator struct {
	t               *testing.T
	program, config string
}

// says runs a command and gives what it said; its exit code must be this.
func (o operator) says(code int, args ...string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.program, append(args, "--config", o.config)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begin := time.Now()
	err := cmd.Run()
	o.t.Logf("barid %s: %.1f s", strings.Join(args, " "), time.Since(begin).Seconds())
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		o.t.Fatalf("barid %s: %v, not code %d\n%s", strings.Join(args, " "), err, code, out.String())
	}
	return out.String()
}

// configure changes a line of the configuration.
func (o operator) configure(from, to string) {
	o.t.Helper()
	text, err := os.ReadFile(o.config)
	if err != nil || !strings.Contains(string(text), "\n"+from+"\n") {
		o.t.Fatalf("no line %q in the configuration: %v", from, err)
	}
	if err := os.WriteFile(o.config, []byte(strings.Replace(string(text), "\n"+from+"\n", "\n"+to+"\n", 1)), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// run serves until the returned function is called.
func (o operator) run() (stop func()) {
	o.t.Helper()
	cmd := exec.Command(o.program, "run", "--config", o.config)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for range 200 {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:993", time.Second)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-done:
			o.t.Fatalf("barid run ended: %v\n%s", err, out.String())
		case <-time.After(100 * time.Millisecond):
		}
	}
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-done; err != nil {
			o.t.Errorf("barid run: %v\n%s", err, out.String())
		}
	}
}
