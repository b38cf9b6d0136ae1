package main

import (
	"errors"

	"github.com/spf13/cobra"

	"barid/internal/app"
)

func exportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "export --to cmdeploy",
		Short: "Give the accounts back to the reference system, with the same UIDs",
		Long: `Give the accounts back to the reference system: all mail in Maildir files,
dovecot-uidlist in every mailbox, and this program's own files out of the way, so
that Dovecot goes on with the same UIDs and clients download nothing again.

Stop the relay first. Without --mail the tree in data_dir is left for Dovecot;
with it another tree becomes the same, with only what changed written anew. A
chatmail.ini is written where there is none. What the reference cannot take over
is told. Before this relay runs on that tree again, "barid import".

With --json, one object a line; the last has the member "end". Exit code 1 when
a fault was found.`,
		Args: cobra.NoArgs,
	}
	o := app.ExportOrder{}
	to := c.Flags().String("to", "", `what takes over: "cmdeploy"`)
	c.Flags().StringVar(&o.Mail, "mail", "", "the tree of accounts that the reference serves (default the one in data_dir)")
	c.Flags().StringVar(&o.INI, "ini", "", "where to write the configuration (default chatmail.ini in data_dir)")
	owner := c.Flags().String("owner", "", "the user that the tree shall belong to, such as vmail")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "give nothing away, and tell what would be lost")
	c.Flags().BoolVar(&o.OtherDovecot, "other-dovecot", false, "the Dovecot that runs on this machine has other mail")
	asJSON := c.Flags().Bool("json", false, "print it as JSON, one object a line")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if *to != "cmdeploy" {
			return errors.New("export wants --to cmdeploy")
		}
		var err error
		if o.Owner, err = userID(*owner); err != nil {
			return err
		}
		_, cfg, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := untilSignal(cmd.Context())
		defer cancel()
		show := &importShow{json: *asJSON, out: cmd.OutOrStdout()}
		if isTerminal(cmd.ErrOrStderr()) {
			show.bar = cmd.ErrOrStderr()
		}
		err = errors.Join(app.Export(ctx, cfg, o, show.line), show.wipe())
		if ctx.Err() != nil {
			return failed(errors.New("it was ended; the same command goes on with it"))
		}
		return failed(errors.Join(err, show.left()))
	}
	return c
}
