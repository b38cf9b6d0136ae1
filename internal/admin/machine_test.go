package admin

import (
	"strings"
	"testing"
)

// What the machine has stands beside its limits, in one line.
func TestRenderMachine(t *testing.T) {
	s := Status{Domain: "relay.test", Registration: "by invitation", Machine: []Reading{
		{Name: "load", Value: 5.128, Limit: 5, AtMost: true, Refusing: true},
		{Name: "memory", Value: 1.26 * (1 << 30), Limit: 200 << 20, Octets: true},
		{Name: "disk", Limit: 1 << 30, Octets: true, Unreadable: true},
		{Name: "inodes", Value: 16253466},
	}}
	var b strings.Builder
	if err := Render(s, &b); err != nil {
		t.Fatal(err)
	}
	want := "registration: by invitation\nmachine: load 5.13 (at most 5), memory 1.3G (at least 200M), disk unreadable (at least 1G), inodes 16253466\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("%s\nlacks\n%s", b.String(), want)
	}
}
