package main

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/admin"
)

// asking has the flags of each command that asks the running relay.
type asking struct {
	json    *bool
	dataDir *string
}

// askingFlags adds --json and --data-dir to c.
func askingFlags(c *cobra.Command) asking {
	return asking{
		json:    c.Flags().Bool("json", false, "print it as JSON"),
		dataDir: c.Flags().String("data-dir", "", "ask the relay on this data directory, whatever the configuration says"),
	}
}

// dial gives a client for the relay that is meant: that of --data-dir, else
// that of the configuration.
func (a asking) dial(cmd *cobra.Command) (*admin.Client, error) {
	if *a.dataDir != "" {
		return admin.Dial(*a.dataDir), nil
	}
	_, cfg, err := loadConfig(cmd)
	if err != nil {
		return nil, err
	}
	return admin.Dial(cfg.DataDir), nil
}

// ask asks the relay that is meant and waits for its answer no longer than
// limit.
func (a asking) ask(cmd *cobra.Command, limit time.Duration, path string, question, answer any) error {
	relay, err := a.dial(cmd)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), limit)
	defer cancel()
	return failed(relay.Ask(ctx, path, question, answer))
}

// print writes an answer: as JSON when --json is set, else as text does.
func (a asking) print(cmd *cobra.Command, answer any, text func(io.Writer) error) error {
	if !*a.json {
		return failed(text(cmd.OutOrStdout()))
	}
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return failed(e.Encode(answer))
}
