package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"barid/internal/admin"
	"barid/internal/config"
)

// ask runs a command line in this process.
func ask(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// file writes a configuration and gives its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "barid.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A wrong command line exits with 2 and one line that says why.
func TestWrongCommandLines(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range []string{
		"", "frobnicate", "version 5", "status --no-such-flag", "config", "config frobnicate", "store", "config check extra",
		"config check --config /no/such/file", "status --config /no/such/file",
	} {
		code, stdout, stderr := ask(t, strings.Fields(args)...)
		if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "barid: ") {
			t.Errorf("barid %s: code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// A command that has others below it names them.
func TestCommandsNameWhatIsBelowThem(t *testing.T) {
	if code, _, stderr := ask(t, "queue"); code != exitUsage || stderr != `barid: queue wants one of "list", "show", "why", "hold", "release", "retry", "discard"`+"\n" {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}

// A wrong configuration exits with 2 and a line for each problem, which begins
// with its place as compilers write it.
func TestConfigCheckTellsAll(t *testing.T) {
	path := file(t, "domain = \"relay.test\"\ndatadir = \"x\"\n[log]\nlevel = \"loud\"\n")
	code, stdout, stderr := ask(t, "config", "check", "--config", path)
	want := path + ":2:1: datadir: unknown key, did you mean data_dir?\n" +
		path + ":4:9: log.level: must be \"debug\", \"info\", \"warn\" or \"error\", not \"loud\"\n"
	if code != exitUsage || stdout != "" || stderr != want {
		t.Errorf("code %d, stdout %q, stderr\n%swant\n%s", code, stdout, stderr, want)
	}
	path = file(t, "domain = \"relay.test\"\n")
	if code, stdout, stderr := ask(t, "config", "check", "--config", path); code != 0 || stdout != path+": ok\n" || stderr != "" {
		t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// What sample and show print is a configuration.
func TestConfigSampleAndShow(t *testing.T) {
	for _, args := range [][]string{{"config", "sample"}, {"config", "show", "--config", file(t, `domain = "relay.test"`)}} {
		code, stdout, stderr := ask(t, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: code %d, stderr %q", args, code, stderr)
		}
		if _, err := config.Parse("stdout", []byte(stdout)); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// The environment names the configuration when no flag does.
func TestConfigFromTheEnvironment(t *testing.T) {
	t.Setenv("BARID_CONFIG", file(t, `domain = "from-env.test"`))
	if code, stdout, _ := ask(t, "config", "show"); code != 0 || !strings.Contains(stdout, `domain = "from-env.test"`) {
		t.Errorf("code %d, stdout %q", code, stdout)
	}
}

// The version line has a version and a commit in any build.
func TestVersion(t *testing.T) {
	code, stdout, _ := ask(t, "version")
	if f := strings.Fields(stdout); code != 0 || len(f) < 4 || f[0] != "barid" || !strings.HasPrefix(f[2], "(") {
		t.Errorf("code %d, %q", code, stdout)
	}
}

// Status shows what the relay on the data directory says, and tells when
// there is none: exit 1, since the question was right.
func TestStatus(t *testing.T) {
	dir := t.TempDir()
	code, _, stderr := ask(t, "status", "--data-dir", dir)
	if want := "barid: " + admin.ErrNotRunning.Error() + " (" + dir + ")\n"; code != exitFailure || stderr != want {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
	s, err := admin.Listen(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	s.Serve(func() admin.Status { return admin.Status{Version: "7.7", Domain: "relay.test"} })
	path := file(t, "domain = \"relay.test\"\ndata_dir = \""+dir+"\"")
	if code, stdout, stderr := ask(t, "status", "--config", path); code != 0 || !strings.HasPrefix(stdout, "barid 7.7 serves relay.test\n") {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := ask(t, "status", "--json", "--config", path); code != 0 || !strings.Contains(stdout, `"version": "7.7"`) {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
}
