package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks the process that runs in the namespaces.
const inside = "BARID_INSIDE_NAMESPACE"

// InNamespace runs do in a process with a network of its own, where nothing
// but loopback exists, so that it may listen on every port; with a hosts file
// in which the names are 127.0.0.1, and a name server on 127.0.0.1:53 that knows
// no name before it is told. The process is this test once more.
//
// It needs root; BARID_INTEROP asks for it.
func InNamespace(t *testing.T, names []string, do func(*testing.T, *DNS)) {
	t.Helper()
	if os.Getenv(inside) != "" {
		do(t, settle(t, names))
		return
	}
	if os.Getenv("BARID_INTEROP") == "" {
		t.Skip("needs root, for a network of its own: `make interop` runs it")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in the namespace:\n%s", out)
	if err != nil {
		t.Fatalf("in the namespace: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), "--- PASS") {
		t.Fatal("nothing was run in the namespace")
	}
}

// settle furnishes the namespaces this process woke up in.
func settle(t *testing.T, names []string) *DNS {
	t.Helper()
	if err := raise("lo"); err != nil {
		t.Fatalf("raise the loopback interface: %v", err)
	}
	hosts := "127.0.0.1 localhost\n"
	for _, name := range names {
		hosts += "127.0.0.1 " + name + "\n"
	}
	cover(t, "/etc/hosts", hosts)
	cover(t, "/etc/resolv.conf", "nameserver 127.0.0.1\n")
	return NewDNS(t, "127.0.0.1:53")
}

// raise brings an interface up.
func raise(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
}

// cover lays a file with that content over another one, in this mount
// namespace alone.
func cover(t *testing.T, path, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	if err := unix.Mount(file, path, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("lay a file over %s: %v", path, err)
	}
	// The directory can be removed only when nothing is mounted from it.
	t.Cleanup(func() { unix.Unmount(path, unix.MNT_DETACH) })
}
