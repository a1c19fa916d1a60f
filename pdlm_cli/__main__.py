"""`python -m pdlm_cli` is `pdlm`."""

from pdlm_cli.main import main

if __name__ == "__main__":
    main(prog_name="pdlm")
