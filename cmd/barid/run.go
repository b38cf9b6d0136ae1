package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
)

// stopTime bounds the end of a relay.
const stopTime = 20 * time.Second

// demoTries bounds how often a demo looks for free ports.
const demoTries = 5

// oneSignal is how long what arrives after a first signal still belongs to
// it: programs that start others (timeout, sudo, shells) pass a signal on that
// the terminal or the process group delivers too.
const oneSignal = 300 * time.Millisecond

func runCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve until SIGTERM, SIGINT or SIGHUP; a second one ends it at once",
		Args:  cobra.NoArgs,
	}
	demo := c.Flags().Bool("demo", false, "serve a throw-away relay on 127.0.0.1, with invites for two people")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *demo && cmd.Flags().Changed("config") {
			return fmt.Errorf("a demo has no configuration: --demo and --config exclude each other")
		}
		if *demo {
			return failed(runDemo(cmd))
		}
		_, cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		return failed(serve(cmd.Context(), cfg, true, func(*app.App) error { return nil }))
	}
	return c
}

// serve runs a relay from its making to its end, or until another process
// takes its place, if it may be restarted. Ready is called when it serves.
func serve(ctx context.Context, cfg *config.Config, restartable bool, ready func(*app.App) error) error {
	ctx, cancel := untilSignal(ctx)
	defer cancel()
	before, err := inherited()
	if err != nil {
		return err
	}
	path, err := program()
	if err != nil {
		return err
	}
	app.TuneRuntime()
	ver, com := build()
	ctx, restart := context.WithCancelCause(ctx)
	defer restart(nil)
	opt := app.Options{Version: ver, Commit: com, ReturnMemory: true, Handover: before}
	if restartable {
		opt.Restart = func() { restart(errRestart) }
	}
	a, err := app.New(cfg, opt)
	if err != nil {
		return err
	}
	err = a.Start(ctx)
	if err == nil {
		err = ready(a)
	}
	var left *os.File // for a successor
	if err == nil {
		tell(daemon.SdNotifyReady)
		<-ctx.Done()
		if errors.Is(context.Cause(ctx), errRestart) {
			left, err = a.Handover()
		}
	}
	if left == nil {
		tell(daemon.SdNotifyStopping)
	}
	end, cancelEnd := context.WithTimeout(context.Background(), stopTime)
	defer cancelEnd()
	if stop := a.Stop(end); err == nil {
		err = stop
	}
	if left != nil {
		return errors.Join(err, becomeSuccessor(left, path))
	}
	return err
}

// untilSignal gives a context that ends with the first SIGTERM, SIGINT or
// SIGHUP (the terminal was closed). A second one ends the process. Under nohup
// SIGHUP means nothing. A log that nobody reads any more (SIGPIPE) never ends
// a relay.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	ends := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, ends...)
	signal.Ignore(syscall.SIGPIPE)
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case <-signals:
			case <-done:
				return
			}
			switch {
			case first.IsZero():
				first = time.Now()
				cancel()
			case time.Since(first) > oneSignal:
				fmt.Fprintln(os.Stderr, "barid: ended at once by a second signal")
				os.Exit(exitFailure)
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		signal.Reset(syscall.SIGPIPE)
		close(done)
		cancel()
	}
}

// runDemo serves a relay whose data lies in a temporary directory, which is
// removed at the end.
func runDemo(cmd *cobra.Command) (err error) {
	dir, err := os.MkdirTemp("", "barid-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() {
		if gone := os.RemoveAll(dir); err == nil {
			err = gone
		}
	}()
	for try := 1; ; try++ {
		cfg, err := config.Demo(dir)
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		err = serve(cmd.Context(), cfg, false, func(a *app.App) error {
			return printInvites(cmd.OutOrStdout(), os.Args[0], cfg.Domain, dir, []string{a.NewInvite(), a.NewInvite()})
		})
		// Between looking for a free port and taking it, somebody else may.
		if try == demoTries || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}
