package main

import (
	"fmt"
	"io"

	"github.com/skip2/go-qrcode"
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
		fmt.Fprintf(w, "\nInvite %d of %d\n%s%s\n", i+1, len(invites), code.ToSmallString(false), uri)
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
