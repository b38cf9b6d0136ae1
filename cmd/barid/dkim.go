package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"barid/internal/app"
)

func dkimCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "dkim",
		Short: "Print the DNS records of the keys that sign outgoing mail",
		Long: "Print the DNS records of the keys that sign outgoing mail, as lines of a zone\n" +
			"file. Other servers refuse our mail until one of them is published.",
		Args: cobra.NoArgs,
	}
	dkimQuestion(c, "/dkim", func([]string) any { return nil })
	c.AddCommand(dkimRotateCommand(), dkimUseCommand())
	return c
}

func dkimRotateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Make the keys that will sign next, and print their records",
		Long: "Make the keys that will sign next, and print their records. The present ones go\n" +
			"on signing. Publish the records, wait for an hour, then: barid dkim use SELECTOR",
		Args: cobra.NoArgs,
	}
	dkimQuestion(c, "/dkim/rotate", func([]string) any { return nil })
	return c
}

func dkimUseCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "use SELECTOR",
		Short: "Let a key sign that rotate made and that is published",
		Long: "Let a key sign that rotate made. It is looked up first, so that no mail leaves\n" +
			"that nobody can verify. Leave the record of the key before it in the zone for\n" +
			"ten days: mail that it signed may still be on its way.",
		Args: cobra.ExactArgs(1),
	}
	unseen := c.Flags().Bool("unseen", false, "do not look whether its record is published")
	dkimQuestion(c, "/dkim/use", func(args []string) any { return app.DKIMUse{Selector: args[0], Unseen: *unseen} })
	return c
}

// dkimQuestion makes c ask the relay, and print what it answers.
func dkimQuestion(c *cobra.Command, verb string, question func(args []string) any) {
	ask := askingFlags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var d app.DKIM
		if err := ask.ask(cmd, statusTimeout, verb, question(args), &d); err != nil {
			return err
		}
		return ask.print(cmd, d, func(w io.Writer) error { return printDKIM(w, d) })
	}
}

func printDKIM(w io.Writer, d app.DKIM) error {
	if len(d.Keys) == 0 {
		_, err := fmt.Fprintln(w, "; a relay at an address signs nothing")
		return err
	}
	for _, k := range d.Keys {
		if _, err := fmt.Fprintln(w, k.Line); err != nil {
			return err
		}
	}
	for _, k := range d.Next {
		if _, err := fmt.Fprintf(w, "; waits until it is published, then: barid dkim use %s\n%s\n", k.Selector, k.Line); err != nil {
			return err
		}
	}
	return nil
}
