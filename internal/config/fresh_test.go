package config

import (
	"reflect"
	"strings"
	"testing"
)

// What is written for a new relay reads back as what it was made of, whatever
// user reads it, and sets no more than it must.
func TestAFreshFileReadsBack(t *testing.T) {
	for _, domain := range []string{"chat.example.org", "_chat.example.org", "192.0.2.7"} {
		c := Default(domain)
		c.DataDir = "/srv/barid"
		c.Listen.HTTPS = []string{"[::]:8443"}
		text := Fresh(c)
		back, err := Parse("fresh", text)
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%s: %v\n%s", domain, err, text)
		}
		n := 0
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, " = ") && line[0] != '#' {
				n++
			}
		}
		if n != 3 || !strings.Contains(string(text), "\n#mode = ") {
			t.Errorf("%s: %d keys are set", domain, n)
		}
	}
}
