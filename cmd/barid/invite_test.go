package main

import (
	"strings"
	"testing"

	"github.com/skip2/go-qrcode"
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

// On a terminal each line of a code has its own colours, and gives them back.
func TestCodesBringTheirColours(t *testing.T) {
	code, err := qrcode.New("dclogin:abcdefghi@_demo.test", qrcode.Low)
	if err != nil {
		t.Fatal(err)
	}
	plain := draw(code, false)
	if strings.Contains(plain, "\x1b") {
		t.Error("escapes in what is no terminal's")
	}
	coloured := draw(code, true)
	for line := range strings.Lines(coloured) {
		if !strings.HasPrefix(line, "\x1b[38;5;231;48;5;16m") || !strings.HasSuffix(line, "\x1b[0m\n") {
			t.Errorf("%q", line)
		}
	}
	if strings.NewReplacer("\x1b[38;5;231;48;5;16m", "", "\x1b[0m", "").Replace(coloured) != plain {
		t.Error("the colours changed the code")
	}
	if isTerminal(&strings.Builder{}) {
		t.Error("a buffer is no terminal")
	}
}
