package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"barid/internal/app"
	"barid/internal/config"
)

func configCommand() *cobra.Command {
	return withVerbs(&cobra.Command{
		Use:   "config",
		Short: "Check, show or explain the configuration",
	}, &cobra.Command{
		Use:   "check",
		Short: "Tell everything that is wrong with the configuration and the files it names; exit 2 if anything is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := app.Check(cfg); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: ok\n", path)
			return failed(err)
		},
	}, &cobra.Command{
		Use:   "sample",
		Short: "Print a configuration with every key, its meaning and its default",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Sample())
			return failed(err)
		},
	}, &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in effect, defaults included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, cfg, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(config.Show(cfg))
			return failed(err)
		},
	}, snippetsCommand())
}
