package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"barid/internal/app"
)

// handoverVariable has the number of the open file that a predecessor left.
const handoverVariable = "BARID_HANDOVER"

// programVariable has the path that program gave to the predecessor.
const programVariable = "BARID_PROGRAM"

// errRestart ends a relay whose place another one takes.
var errRestart = errors.New("restart")

func restartCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "restart",
		Short: "Let the relay begin anew with the binary and configuration of now; its ports stay open",
		Long: "Let the relay begin anew with the binary and the configuration that lie on disk now. Its ports stay\n" +
			"open, so nobody is refused; clients connect again at once. The process keeps its number.",
		Args: cobra.NoArgs,
	}
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		relay, err := ask.dial(cmd)
		if err != nil {
			return err
		}
		if *ask.dataDir == "" { // else its configuration is not known here
			_, cfg, err := loadConfig(cmd)
			if err == nil {
				err = failed(app.Check(cfg))
			}
			if err != nil {
				return err // the successor would end, and nobody would serve
			}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), stopTime+statusTimeout)
		defer cancel()
		before, err := relay.Status(ctx)
		if err != nil {
			return failed(err)
		}
		if err := relay.Ask(ctx, "/restart", nil, &struct{}{}); err != nil {
			return failed(err)
		}
		for tick := time.Tick(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return failed(fmt.Errorf("the relay did not come back: %w", ctx.Err()))
			case <-tick:
			}
			after, err := relay.Status(ctx)
			if err != nil || !after.Started.After(before.Started) {
				continue
			}
			return ask.print(cmd, after, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "restarted, version %s\n", after.Version)
				return err
			})
		}
	}
	return c
}

// inherited gives what another process left for this one: a predecessor, or
// systemd, whose sockets are named after listeners (FileDescriptorName=imaps).
// Nil when there is nothing.
func inherited() (*app.Handover, error) {
	number := os.Getenv(handoverVariable)
	os.Unsetenv(handoverVariable)
	if number != "" {
		fd, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", handoverVariable, err)
		}
		return app.TakeOver(os.NewFile(uintptr(fd), "handover"))
	}
	files := activation.Files(true)
	if len(files) == 0 {
		return nil, nil
	}
	h := &app.Handover{}
	for _, f := range files {
		fd, err := syscall.Dup(int(f.Fd()))
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("socket %s of systemd: %w", f.Name(), err)
		}
		h.Sockets = append(h.Sockets, app.HandedSocket{Name: f.Name(), FD: fd})
	}
	return h, nil
}

// program gives the path from which a successor is run. It is asked for at the
// start: the system's answer follows a file that is moved away later, to make
// room for a new one.
func program() (string, error) {
	path := os.Getenv(programVariable)
	os.Unsetenv(programVariable)
	if path != "" {
		return path, nil
	}
	return os.Executable()
}

// becomeSuccessor runs the binary that is now at path in this process, or the
// one of before once more, if that cannot be run: clients wait at the sockets.
// It returns only when both fail.
func becomeSuccessor(handover *os.File, path string) error {
	defer handover.Close()
	env := append(os.Environ(), handoverVariable+"="+strconv.Itoa(int(handover.Fd())), programVariable+"="+path)
	err := syscall.Exec(path, os.Args, env)
	fmt.Fprintf(os.Stderr, "barid: restart %s: %v; the program of before goes on\n", path, err)
	return errors.Join(fmt.Errorf("restart %s: %w", path, err), syscall.Exec("/proc/self/exe", os.Args, env))
}

// tell tells systemd how the relay is, where there is a systemd.
func tell(state string) { daemon.SdNotify(false, state) }
