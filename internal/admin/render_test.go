package admin

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// The status screen looks like its golden files.
func TestRender(t *testing.T) {
	quiet := Status{Version: "dev", Domain: "chat.example.test", Store: Store{State: "read-only", Text: "a flush failed"}}
	for name, s := range map[string]Status{"busy": someStatus(), "quiet": quiet} {
		var b strings.Builder
		if err := Render(s, &b); err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), b.String()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		if n := strings.Count(b.String(), "\n"); n > 24 {
			t.Errorf("%s: %d lines are more than a screen", name, n)
		}
	}
}

// Durations are told by their two largest units.
func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 999 * time.Millisecond: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m 1s",
		time.Hour: "1h 0m", 24 * time.Hour: "1d 0h", 100*24*time.Hour + 23*time.Hour + 59*time.Minute: "100d 23h",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
