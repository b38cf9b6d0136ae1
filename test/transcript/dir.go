package transcript

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each reads every file that the pattern names and runs f on it, as a subtest
// with the file's name. A pattern that names no file is an error, and so is
// one that is read wrongly.
func Each(t *testing.T, pattern string, f func(t *testing.T, s *Script)) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no dialogue at %s (%v)", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s, err := Parse(path, string(text))
			if err != nil {
				t.Fatal(err)
			}
			f(t, s)
		})
	}
}

// Dir plays every file that the pattern names, as the client, each as a
// subtest with connections of its own: dial is called once for the first and
// once for each "@ name", and starts the server when it has to. Dir closes
// what dial opened.
func Dir(t *testing.T, pattern string, dial func(t *testing.T) net.Conn, opts ...Option) {
	t.Helper()
	Each(t, pattern, func(t *testing.T, s *Script) {
		conn := dial(t)
		defer conn.Close()
		again := Dial(func(string) (net.Conn, error) { return dial(t), nil })
		if err := New(t, conn, append([]Option{again}, opts...)...).Run(s); err != nil {
			t.Fatal(err)
		}
	})
}
