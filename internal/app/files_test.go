package app

import "testing"

// A process that may open fewer files than there may be connections says so.
func TestTooFewFiles(t *testing.T) {
	for _, c := range []struct {
		may         uint64
		connections int
		found       int
	}{{1024, 20000, 1}, {20000, 20000, 1}, {20500, 20000, 0}, {1024, 0, 0}, {1 << 40, 1000, 0}} {
		if got := len(tooFewFiles(c.may, c.connections)); got != c.found {
			t.Errorf("%+v: %d findings", c, got)
		}
	}
}
