package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"barid/dkim"
	"barid/internal/zone"
	"barid/test/harness"
)

// stopped is the configuration of a relay that has keys and does not run.
func stopped(t *testing.T, domain, more string) (path string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := dkim.OpenKeys(filepath.Join(dir, "data", "dkim"), time.Now()); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "barid.toml")
	text := fmt.Sprintf("domain = %q\ndata_dir = \"data\"\n[dns]\naddresses = [\"127.0.0.1\"]\n%s", domain, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The zone is printed from what lies on the disk, in three forms, and nobody
// is asked.
func TestTheZoneIsPrinted(t *testing.T) {
	path := stopped(t, "relay.test", "resolver = \"127.0.0.1:1\"\n")
	code, text, stderr := ask(t, "dns", "--config", path)
	if code != 0 || stderr != "" {
		t.Fatal(code, stderr)
	}
	p, n := dns.NewZoneParser(strings.NewReader(text), "", ""), 0
	for _, ok := p.Next(); ok; _, ok = p.Next() {
		n++
	}
	if p.Err() != nil || n < 12 || !strings.Contains(text, "v=DKIM1;k=rsa;p=") || !strings.Contains(text, "; Required DNS entries") {
		t.Errorf("%d records, %v\n%s", n, p.Err(), text)
	}
	if code, table, _ := ask(t, "dns", "--table", "--config", path); code != 0 || !strings.Contains(table, "  Priority  10\n  Value     relay.test\n") {
		t.Error(table)
	}
	var records []zone.Record
	if code, text, _ := ask(t, "dns", "--json", "--config", path); code != 0 || json.Unmarshal([]byte(text), &records) != nil || len(records) <= n {
		t.Error(code, text)
	}
	if entries, err := os.ReadDir(filepath.Join(filepath.Dir(path), "data")); err != nil || len(entries) != 1 {
		t.Errorf("something was made: %v %v", entries, err)
	}
}

func TestAnAddressHasNoZone(t *testing.T) {
	path := stopped(t, "192.0.2.7", "")
	for _, line := range [][]string{{"dns"}, {"dns", "check"}} {
		code, text, _ := ask(t, append(line, "--config", path)...)
		if code != 0 || !strings.HasPrefix(text, "[WARNING] 192.0.2.7 is not a domain, skipping DNS checks.\n") {
			t.Error(code, text)
		}
	}
}

func TestWithoutKeysThereIsNoZone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "barid.toml")
	if err := os.WriteFile(path, []byte("domain = \"relay.test\"\ndata_dir = \"data\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := ask(t, "dns", "--config", path); code != exitFailure || !strings.Contains(stderr, `"barid init" makes them`) {
		t.Error(code, stderr)
	}
}

// The check says what is missing with the line to add, and its exit code is
// about what is required.
func TestTheZoneIsChecked(t *testing.T) {
	server := harness.NewDNS(t, "127.0.0.1:0")
	path := stopped(t, "_relay.test", fmt.Sprintf("resolver = %q\n", server.Addr))
	server.Add(t, "_relay.test. 60 IN SOA _relay.test. x. 1 60 60 60 60")
	code, text, stderr := ask(t, "dns", "check", "--config", path)
	if code != exitFailure || !strings.Contains(text, "add: _relay.test. 3600 IN MX 10 _relay.test.") || stderr != "barid: what is required is not there yet\n" {
		t.Fatalf("%d %s\n%s", code, stderr, text)
	}
	_, all, _ := ask(t, "dns", "--config", path)
	required, recommended, _ := strings.Cut(all, "; Recommended")
	add := func(text string) {
		p := dns.NewZoneParser(strings.NewReader(text), "", "")
		for rr, ok := p.Next(); ok; rr, ok = p.Next() {
			server.Add(t, rr.String())
		}
	}
	add(required)
	code, text, _ = ask(t, "dns", "check", "--config", path)
	if code != 0 || !strings.Contains(text, "WARNING: these recommended DNS entries are not set: 9.") {
		t.Errorf("%d\n%s", code, text)
	}
	add("; Recommended" + recommended)
	server.Add(t, "www._relay.test. 60 IN A 127.0.0.1")
	code, text, stderr = ask(t, "dns", "check", "--wait", "--timeout", "20s", "--config", path)
	if code != 0 || !strings.HasSuffix(text, "\n"+allRight+"\n") || stderr != "" {
		t.Errorf("%d %s\n%s", code, stderr, text)
	}
	var r zone.Report
	code, text, _ = ask(t, "dns", "check", "--json", "--config", path)
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != 0 || !r.Complete {
		t.Errorf("%d %v\n%s", code, err, text)
	}
	if code, _, _ := ask(t, "dns", "check", "--timeout", "1s", "--config", path); code != exitUsage {
		t.Error("--timeout without --wait")
	}
}

// Waiting asks again until all is right, and says what changed.
func TestWaitingTurnsGreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		report := func(s zone.State, complete bool) zone.Report {
			return zone.Report{Domain: "relay.test", Complete: complete, Usable: complete, Results: []zone.Result{{Record: zone.Record{Name: "relay.test", Type: "MX"}, State: s}}}
		}
		looks, out := 0, &bytes.Buffer{}
		look := func() zone.Report {
			if looks++; looks < 4 {
				return report(zone.Missing, false)
			}
			return report(zone.Right, true)
		}
		d := display{w: out}
		start := time.Now()
		r := watch(context.Background(), look, d.round, true, checkEvery)
		if !r.Complete || time.Since(start) != 3*checkEvery {
			t.Errorf("%v after %v", r, time.Since(start))
		}
		if _, changes, _ := strings.Cut(out.String(), "not right: 0.\n"); strings.Count(changes, "\n") != 2 || !strings.Contains(changes, "right    MX    relay.test\n") || !strings.HasSuffix(changes, allRight+"\n") {
			t.Errorf("%s", out)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		looks = -1000
		if r := watch(ctx, look, func(zone.Report) {}, true, checkEvery); r.Complete || looks > -980 {
			t.Errorf("%v, %d looks", r, looks)
		}
	})
}

// What is right is green on a terminal, and without colour elsewhere.
func TestAReportOfWhatIsRightIsGreen(t *testing.T) {
	r := zone.Report{Domain: "relay.test", Results: []zone.Result{{Record: zone.Record{Name: "relay.test", Type: "MX", Level: zone.Required}, State: zone.Right}}}
	for colours, want := range map[bool]string{true: "\x1b[32mright   \x1b[0m", false: "  right     MX"} {
		var out strings.Builder
		renderReport(&out, r, colours)
		if text := out.String(); !strings.Contains(text, want) || strings.Contains(text, "\x1b[31m") || !colours && strings.Contains(text, "\x1b") || !strings.HasSuffix(text, allRight+"\n") {
			t.Errorf("%q", text)
		}
	}
}

// On a terminal one report stands in the place of the one before.
func TestALiveReportStaysInItsPlace(t *testing.T) {
	out := &bytes.Buffer{}
	d := display{w: out, live: true}
	r := zone.Report{Domain: "relay.test", Results: []zone.Result{{Record: zone.Record{Name: "relay.test", Type: "MX", Level: zone.Required}, State: zone.Missing, Change: "add: x"}}}
	d.round(r)
	first := out.Len()
	lines := bytes.Count(out.Bytes(), []byte("\n"))
	d.round(r)
	if again := out.String()[first:]; !strings.HasPrefix(again, fmt.Sprintf("\x1b[%dA\x1b[J", lines)) || !strings.Contains(again, "\x1b[31mmissing \x1b[0m") {
		t.Errorf("%q", again)
	}
}
