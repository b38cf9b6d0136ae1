package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"barid/internal/admin"
)

// statusTimeout bounds the wait for a relay's answer.
const statusTimeout = 10 * time.Second

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask the running relay how it is",
		Args:  cobra.NoArgs,
	}
	asJSON := c.Flags().Bool("json", false, "print it as JSON")
	dataDir := c.Flags().String("data-dir", "", "ask the relay on this data directory, whatever the configuration says")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		dir := *dataDir
		if dir == "" {
			_, cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			dir = cfg.DataDir
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), statusTimeout)
		defer cancel()
		s, err := admin.Dial(dir).Status(ctx)
		if err != nil {
			return failed(err)
		}
		if *asJSON {
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return failed(e.Encode(s))
		}
		return failed(admin.Render(s, cmd.OutOrStdout()))
	}
	return c
}
