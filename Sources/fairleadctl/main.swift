import ControlTool

FairleadCtl.start()
