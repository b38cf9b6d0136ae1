package main

import (
	"strings"
	"testing"
)

// Invites stand whole on a line of their own, so that they can be copied, and
// a QR code fits on a usual terminal.
func TestPrintInvites(t *testing.T) {
	invites := []string{
		"dclogin:abcdefghi@_demo.test?p=0123456789ab&v=1&ih=127.0.0.1&ip=10027&is=ssl&sh=127.0.0.1&sp=10025&ss=ssl&ic=3",
		"dclogin:jklmnopqr@_demo.test?p=ba9876543210&v=1&ih=127.0.0.1&ip=10027&is=ssl&sh=127.0.0.1&sp=10025&ss=ssl&ic=3",
	}
	var b strings.Builder
	if err := printInvites(&b, "barid", "_demo.test", "/tmp/demo", invites); err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSuffix(line, "\n")
		if strings.ContainsAny(line, "█▀▄") {
			blocks++
			if n := len([]rune(line)); n > 80 {
				t.Errorf("a QR code is %d wide", n)
			}
		}
	}
	if blocks < 2*15 || blocks > 2*30 {
		t.Errorf("%d lines of QR codes", blocks)
	}
	for _, uri := range invites {
		if !strings.Contains(b.String(), "\n"+uri+"\n") {
			t.Errorf("no line is %s", uri)
		}
	}
}
