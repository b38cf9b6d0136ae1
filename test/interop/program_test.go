package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"barid/test/harness"
)

// patience is how long a program may take for one run.
const patience = time.Minute

// need skips a test outside of "make interop", and fails it there when a
// program is missing.
func need(t *testing.T, program, debianPackage string) {
	t.Helper()
	if os.Getenv("BARID_INTEROP") == "" {
		t.Skip("needs " + program + ": `make interop` installs and runs it")
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Fatalf("%s is missing: it is in the Debian package %s", program, debianPackage)
	}
}

// run runs a program with a home of its own and gives what it said.
func run(t *testing.T, home string, argv ...string) (output string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm"}
	cmd.Dir = home
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	return out.String(), err
}

// trust writes the certificate of a relay's IMAPS, which both programs take
// as a reason to believe it whatever name it has. It gives the file.
func trust(t *testing.T, r *harness.Relay, dir string) string {
	t.Helper()
	conn := r.Dial(t, "imaps").(*tls.Conn)
	defer conn.Close()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("shake hands: %v", err)
	}
	block := &pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}
	return write(t, filepath.Join(dir, "relay.pem"), string(pem.EncodeToMemory(block)))
}

// write makes a file and gives its path.
func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
