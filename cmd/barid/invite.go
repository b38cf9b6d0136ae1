package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/skip2/go-qrcode"
	"golang.org/x/sys/unix"
)

// printInvites tells the people of a demo what to do: each invite as a QR
// code and as text. Program is how this binary was called.
func printInvites(w io.Writer, program, domain, dataDir string, invites []string) error {
	fmt.Fprintf(w, "A throw-away relay for %s is running; all it stores is in %s and goes when it ends.\n", domain, dataDir)
	for i, uri := range invites {
		code, err := qrcode.New(uri, qrcode.Low)
		if err != nil {
			return fmt.Errorf("QR code of an invite: %w", err)
		}
		fmt.Fprintf(w, "\nInvite %d of %d\n%s%s\n", i+1, len(invites), draw(code, isTerminal(w)), uri)
	}
	_, err := fmt.Fprintf(w, `
Each invite is an account for one person. In Delta Chat on this machine, create
a new profile, choose "Use Other Server", and scan or paste one invite; do the
same with the other in a second profile, then let one scan the QR code of the
other. The relay listens on 127.0.0.1 only.

How it is:  %s status --data-dir %s
End it:     Ctrl-C
`, program, dataDir)
	return err
}

// draw gives the code in half blocks, light on dark as on most terminals. With
// colours it says so itself: on a terminal with a light ground the code would
// else be its own negative, which many cameras do not read.
func draw(code *qrcode.QRCode, colours bool) string {
	text := code.ToSmallString(false)
	if !colours {
		return text
	}
	const whiteOnBlack, plain = "\x1b[38;5;231;48;5;16m", "\x1b[0m"
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(whiteOnBlack + strings.TrimSuffix(line, "\n") + plain + "\n")
	}
	return b.String()
}

// isTerminal tells whether a stream, to write to or to read from, is somebody's
// terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
