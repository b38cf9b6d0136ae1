package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"barid/internal/app"
	"barid/internal/config"
)

// togetherCommand is the argument by which this program becomes two relays, of
// the configurations that follow. They are those of the tree that it was built
// from.
const togetherCommand = "two-relays"

// serveTogether runs two relays in this process until ctx ends, or SIGTERM.
func serveTogether(ctx context.Context, configs ...string) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	app.TuneRuntime()
	for _, path := range configs {
		cfg, err := config.Load(path)
		if err != nil {
			return err
		}
		a, err := app.New(cfg, app.Options{ReturnMemory: true})
		if err != nil {
			return err
		}
		if err := a.Start(ctx); err != nil {
			return err
		}
		defer func() {
			end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			err = errors.Join(err, a.Stop(end))
		}()
	}
	<-ctx.Done()
	return nil
}

// startTogether starts two relays in one process.
func startTogether(ctx context.Context, o options, a, b citizen) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return startProcess(ctx, []string{self, togetherCommand, a.config, b.config}, o.serverCPU, a.imap, a.smtp, b.imap, b.smtp)
}
