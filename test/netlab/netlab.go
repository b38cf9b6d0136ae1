// Package netlab gives tests networks in which one machine is the only way
// between the others, and passes no packets on: what two programs in two rooms
// say to each other goes through a program that listens in the hall, or
// nowhere. Nothing in it reaches the world.
//
// It needs root, and the program "ip" of the Debian package iproute2.
package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Hall is the address of the hall, where the test itself runs, as all rooms
// reach it.
const Hall = "10.77.0.1"

// inside marks the process that runs in the hall.
const inside = "BARID_INSIDE_NETLAB"

// Run runs do in the hall: in a process of its own, which is this test once
// more. BARID_INTEROP asks for it; without, the test is skipped.
func Run(t *testing.T, do func(*testing.T)) {
	t.Helper()
	if os.Getenv(inside) != "" {
		ip(t, "link", "set", "lo", "up")
		ip(t, "addr", "add", Hall+"/32", "dev", "lo")
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("0"), 0o644); err != nil {
			t.Fatalf("pass no packets on: %v", err)
		}
		do(t)
		return
	}
	if os.Getenv("BARID_INTEROP") == "" {
		t.Skip("needs root, for networks of its own: `make interop` runs it")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Fatal("ip is missing: it is in the Debian package iproute2")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("in the hall:\n%s", out)
	if err != nil {
		t.Fatalf("in the hall: %v", err)
	}
	if strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), "--- PASS") {
		t.Fatal("nothing was run in the hall")
	}
}

// Room is a network with nothing in it but a way to the hall.
type Room struct {
	t   testing.TB
	pid string // of a process that keeps the network there
}

// NewRoom makes the room of that number, 1 to 200, for as long as the test
// lasts.
func NewRoom(t testing.TB, number int) *Room {
	t.Helper()
	keeper := exec.Command("sleep", "infinity")
	keeper.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := keeper.Start(); err != nil {
		t.Fatalf("make a room: %v", err)
	}
	t.Cleanup(func() {
		keeper.Process.Kill()
		keeper.Wait()
	})
	r := &Room{t: t, pid: strconv.Itoa(keeper.Process.Pid)}
	door, net := fmt.Sprintf("room%d", number), fmt.Sprintf("10.77.%d.", number)
	ip(t, "link", "add", door, "type", "veth", "peer", "name", "door", "netns", r.pid)
	ip(t, "addr", "add", net+"1/24", "dev", door)
	ip(t, "link", "set", door, "up")
	for _, args := range [][]string{
		{"link", "set", "lo", "up"}, {"addr", "add", net + "2/24", "dev", "door"}, {"link", "set", "door", "up"}, {"route", "add", "default", "via", net + "1"},
	} {
		run(t, r.Command("ip", args...))
	}
	return r
}

// Command is a program in the room.
func (r *Room) Command(program string, args ...string) *exec.Cmd {
	return exec.CommandContext(r.t.Context(), "nsenter", append([]string{"-t", r.pid, "-n", program}, args...)...)
}

// Script gives the path of a program that runs the given one in the room.
func (r *Room) Script(program string) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "in-the-room")
	text := fmt.Sprintf("#!/bin/sh\nexec nsenter -t %s -n '%s' \"$@\"\n", r.pid, program)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		r.t.Fatal(err)
	}
	return path
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	run(t, exec.Command("ip", args...))
}

func run(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}
